"""Prints when each local day, week and month of every time zone starts, as Python's zoneinfo sees it.

    zone_days.py DATABASE FIRST_YEAR LAST_YEAR SEED

A line for each distinct zone file, words separated by spaces:

    NAME days DATE:START ... skipped DATE ... weeks DATE:START ... months DATE:START ... offsets INSTANT:OFFSET ...

DATE is a day number, 0 being 1970-01-01, START is in seconds since then. Of the days only those are listed that do
not start 86,400 seconds after the date before, and the first. Weeks are listed in the same manner, as exceptions from
604,800 seconds, by the date of their Monday; months are all listed, by the date of their 1st. OFFSET is the one from
UTC in seconds, at random instants of 1900 to 2100.

Where the offset changes is found by asking zoneinfo for it every 12 hours and halving where two answers differ. Two
changes between two probes could hide each other, so the transition times of the file are probed too; after the last
of those there are only yearly rules, and none turns daylight time on and off within 12 hours.
"""

import datetime
import os
import random
import struct
import sys
import zoneinfo

DAY = 86400
EPOCH = datetime.date(1970, 1, 1).toordinal()
UTC = datetime.timezone.utc
PROBE = DAY // 2


def offset_at(zone, instant):
    delta = datetime.datetime.fromtimestamp(instant, zone).utcoffset()
    return delta.days * DAY + delta.seconds


def tabled_times(content):
    """The transition times of a zone file's last block."""
    def header(at):
        assert content[at:at + 4] == b"TZif"
        return struct.unpack(">6I", content[at + 20:at + 44])
    ut, std, leap, time, kind, char = header(0)
    if content[4:5] == b"\0":
        return struct.unpack(f">{time}i", content[44:44 + 4 * time])
    second = 44 + time * 5 + kind * 6 + char + leap * 8 + std + ut
    time = header(second)[3]
    return struct.unpack(f">{time}q", content[second + 44:second + 44 + 8 * time])


def spans(zone, content, first, last):
    """(start, end, offset) of the spans of one offset that make up first..<last."""
    probes = set(range(first, last, PROBE)) | {last - 1}
    for time in tabled_times(content):
        probes.update(t for t in (time - 1, time) if first <= t < last)
    found = []
    start = before = first
    offset = offset_at(zone, first)
    for probe in sorted(probes):
        if offset_at(zone, probe) != offset:
            low, high = before, probe
            while high - low > 1:
                middle = (low + high) // 2
                if offset_at(zone, middle) == offset:
                    low = middle
                else:
                    high = middle
            assert high == probe or offset_at(zone, high) == offset_at(zone, probe), "changes between probes"
            found.append((start, high, offset))
            start, offset = high, offset_at(zone, high)
        before = probe
    found.append((start, last, offset))
    return found


def first_instants(zone, content, first_date, last_date):
    """The first instant that carries each date; dates that no instant carries are missing."""
    starts = {}
    for start, end, offset in spans(zone, content, (first_date - 3) * DAY, (last_date + 4) * DAY):
        for date in range((start + offset) // DAY, (end - 1 + offset) // DAY + 1):
            starts.setdefault(date, max(start, date * DAY - offset))
    # Within a span of one offset the dates follow each other; ask zoneinfo itself about all others and the one after.
    for date, start in starts.items():
        plain = starts.get(date - 1, 0) + DAY == start and starts.get(date - 2, 0) + 2 * DAY == start
        if first_date <= date <= last_date and not plain:
            shown = datetime.datetime.fromtimestamp(start, zone).toordinal() - EPOCH
            earlier = datetime.datetime.fromtimestamp(start - 1, zone).toordinal() - EPOCH
            assert shown == date and earlier < date, f"{zone} {date} {start}"
    return starts


def exceptions(starts, dates, length):
    """The starts that do not lie `length` days after the one before (0: all); a skipped date starts with the next."""
    listed = []
    previous = None
    for date in dates:
        existing = date
        while existing not in starts:
            existing += 1
        if previous is None or starts[existing] != previous + length * DAY:
            listed.append(f"{date}:{starts[existing]}")
        previous = starts[existing]
    return listed


def zone_files(database):
    """Name and content of each distinct file; "right" and "posix" hold the same zones again."""
    seen = set()
    for folder, folders, names in os.walk(database):
        if folder == database:
            folders[:] = [name for name in folders if name not in ("right", "posix")]
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content = file.read()
            if content[:4] == b"TZif" and content not in seen:
                seen.add(content)
                yield os.path.relpath(path, database), path, content


def random_offsets(zone, randomness, count):
    first = int(datetime.datetime(1900, 1, 1, tzinfo=UTC).timestamp())
    last = int(datetime.datetime(2101, 1, 1, tzinfo=UTC).timestamp())
    instants = (randomness.randrange(first, last) for _ in range(count))
    return [f"{instant}:{offset_at(zone, instant)}" for instant in instants]


def main():
    database, first_year, last_year, seed = sys.argv[1], *map(int, sys.argv[2:5])
    first = datetime.date(first_year, 1, 1).toordinal() - EPOCH
    last = datetime.date(last_year, 12, 31).toordinal() - EPOCH
    dates = range(first, last + 1)
    python_dates = [datetime.date.fromordinal(date + EPOCH) for date in dates]
    mondays = [date for date, shown in zip(dates, python_dates) if shown.weekday() == 0]
    firsts = [date for date, shown in zip(dates, python_dates) if shown.day == 1]
    randomness = random.Random(seed)
    for name, path, content in zone_files(database):
        with open(path, "rb") as file:
            zone = zoneinfo.ZoneInfo.from_file(file, key=name)
        starts = first_instants(zone, content, first, last)
        skipped = [str(date) for date in dates if date not in starts]
        print(
            name,
            "days", *exceptions(starts, dates, 1), "skipped", *skipped,
            "weeks", *exceptions(starts, mondays, 7), "months", *exceptions(starts, firsts, 0),
            "offsets", *random_offsets(zone, randomness, 300))


main()
