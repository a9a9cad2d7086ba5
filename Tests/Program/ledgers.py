"""Ledgers with a scripted history: the real program makes the file, and this adds rows by the documented schema."""

import datetime
import sqlite3
import zoneinfo

from support import Exporter

ZONE = zoneinfo.ZoneInfo("Europe/Berlin")


class Ledger:
    """A ledger without a daemon. `account`, `bucket` and `day` add to it; `close` ends the transaction."""

    def __init__(self, namespace, directory, configuration="timezone: Europe/Berlin\n", environment=None, zone=ZONE):
        self.zone = zone
        self.path = directory / "ledger.db"
        self.configuration = directory / "netusage.yaml"
        self.configuration.write_text(configuration)
        daemon = Exporter(namespace, directory, f"--config.file={self.configuration}", ledger=self.path, environment=environment)
        daemon.stop()
        self.database = sqlite3.connect(self.path)
        # The scripted time counts as read.
        self.database.execute("DELETE FROM unread")
        self.days = {}
        self.next = self.database.execute("SELECT coalesce(max(id), 0) + 1 FROM account").fetchone()[0]

    def account(self, name, kind="device"):
        """The number of an account. Makes the account if there is none of this name."""
        known = self.database.execute("SELECT id FROM account WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        if known:
            return known[0]
        self.database.execute("INSERT INTO account VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0, '')", (self.next, kind, name))
        self.next += 1
        return self.next - 1

    def bucket(self, account, start, received, transmitted):
        """Adds bytes to the five minutes that begin at a UTC second, and to their local day."""
        self.database.execute("INSERT INTO bucket VALUES (?, ?, ?, ?)", (start, account, received, transmitted))
        date = datetime.datetime.fromtimestamp(start, self.zone).date()
        self.add_to_day(account, date, received, transmitted)

    def add_to_day(self, account, date, received, transmitted):
        total = self.days.setdefault((date, account), [0, 0])
        total[0] += received
        total[1] += transmitted

    def close(self, until=None):
        """Writes the days and ends the transaction. `until` is the moment of the last reading, in UTC seconds."""
        for (date, account), (received, transmitted) in self.days.items():
            number = date.toordinal() - datetime.date(1970, 1, 1).toordinal()
            self.database.execute("INSERT INTO day VALUES (?, ?, ?, ?)", (number, account, received, transmitted))
            start = int(datetime.datetime(date.year, date.month, date.day, tzinfo=self.zone).timestamp())
            self.database.execute("INSERT OR IGNORE INTO day_start VALUES (?, ?)", (number, start))
        if until is not None:
            self.database.execute("UPDATE ledger SET read_at_ns = ?", (until * 10 ** 9,))
        self.database.commit()
        self.database.close()
