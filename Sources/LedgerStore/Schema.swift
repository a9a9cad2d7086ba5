/// The ledger's tables. This is a contract: read it with the `sqlite3` shell, through the views at the end.
///
/// Byte counts are integers; `received` and `transmitted` as seen by the device. Times are seconds since 1970 in UTC.
/// Days are days since 1970-01-01 on the local calendar. A name that isn't valid UTF-8 is a BLOB of its bytes.
enum Schema {
    /// `NETU`: `file` and the program recognize a ledger by it.
    static let applicationID: Int64 = 0x4E45_5455

    /// The version that this program writes, in `PRAGMA user_version`.
    static var version: Int64 { Int64(migrations.count) }

    /// The tables that a ledger of this version must have.
    static let tables = [
        "ledger", "account", "device", "bucket", "day", "day_start", "adjustment", "quota_event", "committed_cycle",
        "unread", "taken", "import",
        "fall", "application_counter", "uplink_counter", "uplink_basis",
    ]

    /// Step `n` brings a file of version `n` to version `n + 1`; a released step never changes.
    static let migrations: [String] = [
        """
        CREATE TABLE ledger (                -- one row: the ledger as of its last commit
            id            INTEGER PRIMARY KEY CHECK (id = 1),
            ledger_id     INTEGER NOT NULL,  -- random; tells two ledgers at one path apart
            sequence      INTEGER NOT NULL,  -- counts commits
            boot_id       TEXT    NOT NULL,  -- /proc/sys/kernel/random/boot_id
            netns         INTEGER NOT NULL,  -- the network namespace's cookie
            boot          INTEGER NOT NULL,  -- counts boots seen
            read_at_ns    INTEGER NOT NULL,  -- the last reading by the wall clock, nanoseconds since 1970
            read_boot_ns  INTEGER NOT NULL,  -- the same by the clock since boot, nanoseconds
            clean         INTEGER NOT NULL,  -- 1 when the program ended by itself with this commit
            buckets_from  INTEGER NOT NULL   -- buckets that start before may have been removed
        ) STRICT;
        CREATE TABLE account (               -- what bytes are booked to
            id                 INTEGER PRIMARY KEY,
            kind               TEXT    NOT NULL CHECK (kind IN ('device', 'collapsed', 'uplink')),
            name               ANY     NOT NULL,  -- the device's name, the pattern of the class, or ''
            received_offset    INTEGER NOT NULL,  -- the open counter minus its devices' kernel counters, in `boot`
            transmitted_offset INTEGER NOT NULL,
            boot               INTEGER NOT NULL,
            resets             INTEGER NOT NULL,
            gap_bytes          INTEGER NOT NULL,
            suspect_bytes      INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX account_name ON account (kind, name);
        CREATE TABLE device (                -- baselines: the counters up to which everything is booked
            ifindex      INTEGER PRIMARY KEY,
            name         ANY     NOT NULL,
            account      INTEGER,
            received     INTEGER NOT NULL,   -- as the kernel shows it; above 2^63 it reads negative
            transmitted  INTEGER NOT NULL,
            state        TEXT    NOT NULL CHECK (state IN ('metered', 'away')),
            uplink       INTEGER NOT NULL    -- 1 when it held the default route
        ) STRICT;
        CREATE TABLE bucket (                -- five minutes of UTC, from `start` on
            start        INTEGER NOT NULL,
            account      INTEGER NOT NULL,
            received     INTEGER NOT NULL CHECK (received >= 0),
            transmitted  INTEGER NOT NULL CHECK (transmitted >= 0),
            PRIMARY KEY (start, account)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE day (                   -- local days, kept for ever
            day          INTEGER NOT NULL,
            account      INTEGER NOT NULL,
            received     INTEGER NOT NULL CHECK (received >= 0),
            transmitted  INTEGER NOT NULL CHECK (transmitted >= 0),
            PRIMARY KEY (day, account)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE day_start (             -- when each booked day began, by the zone it was booked in
            day    INTEGER PRIMARY KEY,
            start  INTEGER NOT NULL
        ) STRICT;
        CREATE VIEW days AS
            SELECT date(day * 86400, 'unixepoch') AS date, kind, name, received, transmitted
            FROM day JOIN account ON account.id = day.account;
        CREATE VIEW buckets AS
            SELECT datetime(start, 'unixepoch') AS start_utc, kind, name, received, transmitted
            FROM bucket JOIN account ON account.id = bucket.account;
        """,
        """
        CREATE TABLE adjustment (            -- what the owner told about quotas, kept for ever
            id           INTEGER PRIMARY KEY,
            quota        TEXT    NOT NULL,
            kind         TEXT    NOT NULL CHECK (kind IN ('correction', 'top-up')),
            at           INTEGER NOT NULL,   -- holds from then on, in the cycle that holds this moment
            bytes        INTEGER NOT NULL CHECK (bytes >= 0),  -- used until then, or added to the limit
            entered_at   INTEGER NOT NULL,
            undone_at    INTEGER             -- NULL while it holds
        ) STRICT;
        CREATE TABLE quota_event (           -- what happened to quotas
            id           INTEGER PRIMARY KEY,
            quota        TEXT    NOT NULL,
            cycle_start  INTEGER NOT NULL,
            cycle_end    INTEGER NOT NULL,
            kind         TEXT    NOT NULL CHECK (kind IN ('warning', 'breach', 'lift')),
            share        INTEGER NOT NULL,   -- of the limit, in millionths: which threshold; 1000000 for a breach
            at           INTEGER NOT NULL,   -- when it was noticed
            used         INTEGER NOT NULL,
            quota_limit  INTEGER NOT NULL,
            awaits       INTEGER NOT NULL    -- 1 while a program is yet to be started for it
        ) STRICT;
        CREATE INDEX quota_event_cycle ON quota_event (quota, cycle_end);
        CREATE TABLE committed_cycle (       -- what cycles of committed rates have given, kept for ever
            name         TEXT    NOT NULL,
            cycle_start  INTEGER NOT NULL,
            cycle_end    INTEGER NOT NULL,
            bits_limit   INTEGER NOT NULL,   -- what was bought, in bits per second
            percentile   INTEGER NOT NULL,   -- the 95th, in bytes of five minutes
            samples      INTEGER NOT NULL,
            missing      INTEGER NOT NULL,   -- samples in whose time nothing was read
            PRIMARY KEY (name, cycle_start)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE unread (                -- time in which nothing was read
            start_at     INTEGER NOT NULL,
            end_at       INTEGER NOT NULL
        ) STRICT;
        """,
        """
        CREATE TABLE taken (                 -- what was taken over from other meters, and is booked
            account      INTEGER NOT NULL,
            source       TEXT    NOT NULL,   -- the device that it was counted for; '' for all of the account
            start_at     INTEGER NOT NULL,   -- of the time that the other meter told
            end_at       INTEGER NOT NULL,
            booked_until INTEGER NOT NULL,   -- they are booked evenly from start_at, or the second before, to this
            received     INTEGER NOT NULL,
            transmitted  INTEGER NOT NULL,
            told_received    INTEGER NOT NULL,  -- all that it told, also what wasn't taken over
            told_transmitted INTEGER NOT NULL,
            own_received     INTEGER NOT NULL,  -- what of that was metered here with other devices
            own_transmitted  INTEGER NOT NULL,
            PRIMARY KEY (account, source, start_at, end_at, booked_until)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX taken_source ON taken (source);
        CREATE INDEX taken_own ON taken (account) WHERE own_received > 0 OR own_transmitted > 0;
        CREATE TABLE import (                -- accounts for which there was something to be taken over
            account      INTEGER PRIMARY KEY,
            own_from     INTEGER,            -- their first reading here, before which something may be taken over
            taken_from   INTEGER,            -- the beginning of what was taken over, and its end
            taken_until  INTEGER,
            clock        TEXT                -- the offsets of the clock by which it was told, if it told none
        ) STRICT;
        """,
        """
        -- When the cycle began that a correction speaks of.
        ALTER TABLE adjustment ADD COLUMN cycle_start INTEGER;
        -- The hardware address, by which a device is known that comes back from another namespace.
        ALTER TABLE device ADD COLUMN address BLOB;
        """,
        """
        CREATE TABLE fall (                  -- counters that show less than the baseline: restarted, or wrong for a moment?
            ifindex      INTEGER NOT NULL,
            direction    TEXT    NOT NULL CHECK (direction IN ('received', 'transmitted')),
            read_at_ns   INTEGER NOT NULL,   -- the reading before the fall, as in `ledger`
            read_boot_ns INTEGER NOT NULL,
            seen_boot_ns INTEGER NOT NULL,   -- when the fall was seen
            uplink       INTEGER NOT NULL,   -- 1 when the device held the default route then
            shown        INTEGER NOT NULL,   -- what the counter showed last, and first
            first_shown  INTEGER NOT NULL,
            growth       INTEGER NOT NULL,   -- the fastest since, in bytes a second
            held         INTEGER NOT NULL,   -- bytes that are booked if it has restarted
            held_uplink  INTEGER NOT NULL,   -- how many of these are the uplink's, too
            PRIMARY KEY (ifindex, direction)
        ) STRICT, WITHOUT ROWID;
        """,
        """
        -- Applications are accounts, too. SQLite can't change a CHECK, so the table is made again.
        DROP VIEW days;
        DROP VIEW buckets;
        DROP INDEX account_name;
        ALTER TABLE account RENAME TO account_of_version_5;
        CREATE TABLE account (               -- what bytes are booked to
            id                 INTEGER PRIMARY KEY,
            kind               TEXT    NOT NULL CHECK (kind IN ('device', 'collapsed', 'uplink', 'application', 'uplink_scope')),
            name               ANY     NOT NULL,  -- the device's or application's name, the pattern of the class, or ''
            received_offset    INTEGER NOT NULL,  -- the open counter minus its devices' kernel counters, in `boot`
            transmitted_offset INTEGER NOT NULL,
            boot               INTEGER NOT NULL,
            resets             INTEGER NOT NULL,
            gap_bytes          INTEGER NOT NULL,
            suspect_bytes      INTEGER NOT NULL,
            scope              TEXT    NOT NULL DEFAULT ''  -- of applications and the uplink: where the other ends are
                CHECK (scope IN ('', 'internet', 'lan', 'tunnel', 'other'))
        ) STRICT;
        INSERT INTO account
            SELECT id, kind, name, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes, ''
            FROM account_of_version_5;
        DROP TABLE account_of_version_5;
        CREATE UNIQUE INDEX account_name ON account (kind, name, scope);
        CREATE VIEW days AS
            SELECT date(day * 86400, 'unixepoch') AS date, kind, name, received, transmitted, scope
            FROM day JOIN account ON account.id = day.account;
        CREATE VIEW buckets AS
            SELECT datetime(start, 'unixepoch') AS start_utc, kind, name, received, transmitted, scope
            FROM bucket JOIN account ON account.id = bucket.account;
        -- Which attachment of the kernel programs the counters of applications belong to; NULL before the first.
        ALTER TABLE ledger ADD COLUMN attachment INTEGER;
        -- Applications' buckets that start before may have been removed.
        ALTER TABLE ledger ADD COLUMN application_buckets_from INTEGER NOT NULL DEFAULT -9223372036854775808;
        CREATE TABLE application_counter (   -- up to where the kernel programs' counters are booked
            cgroup            INTEGER NOT NULL,  -- its number
            process           BLOB    NOT NULL,  -- the name of the main thread
            scope             TEXT    NOT NULL CHECK (scope IN ('internet', 'lan', 'tunnel')),
            transport         INTEGER NOT NULL,  -- 0 another, 1 TCP, 2 UDP, 3 UDP at port 443, 4 ICMP
            passage           TEXT    NOT NULL   -- where they leave the machine, if its sockets are in this network namespace
                CHECK (passage IN ('uplink', 'other_device', 'other_namespace')),
            application       TEXT    NOT NULL,  -- the name of the account
            received          INTEGER NOT NULL,  -- as on the cable, each packet with its headers
            transmitted       INTEGER NOT NULL,
            saved_received    INTEGER NOT NULL,  -- how many of these bytes a device doesn't see if it gets merged packets
            saved_transmitted INTEGER NOT NULL,
            withheld_received INTEGER NOT NULL,  -- how many of those aren't booked yet
            withheld_transmitted INTEGER NOT NULL,
            PRIMARY KEY (cgroup, process, scope, transport, passage)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE uplink_counter (        -- the same for what passes uplinks
            ifindex           INTEGER NOT NULL,
            scope             TEXT    NOT NULL CHECK (scope IN ('internet', 'lan', 'other')),
            received          INTEGER NOT NULL,
            transmitted       INTEGER NOT NULL,
            saved_received    INTEGER NOT NULL,
            saved_transmitted INTEGER NOT NULL,
            withheld_received INTEGER NOT NULL,
            withheld_transmitted INTEGER NOT NULL,
            PRIMARY KEY (ifindex, scope)
        ) STRICT, WITHOUT ROWID;
        """,
        """
        -- The kernel's programs count by fewer keys now, and begin at 0 with that.
        UPDATE ledger SET attachment = NULL;
        DROP TABLE application_counter;
        CREATE TABLE application_counter (   -- up to where the kernel programs' counters are booked
            cgroup            INTEGER NOT NULL,  -- its number
            process           BLOB    NOT NULL,  -- the name of the main thread
            scope             TEXT    NOT NULL CHECK (scope IN ('internet', 'lan', 'tunnel')),
            passage           TEXT    NOT NULL   -- where they leave the machine, if its sockets are in this network namespace
                CHECK (passage IN ('uplink', 'other_device', 'other_namespace')),
            application       TEXT    NOT NULL,  -- the name of the account
            received          INTEGER NOT NULL,  -- as on the cable, each packet with its headers
            transmitted       INTEGER NOT NULL,
            saved_received    INTEGER NOT NULL,  -- how many of these bytes a device doesn't see if it gets merged packets
            saved_transmitted INTEGER NOT NULL,
            withheld_received INTEGER NOT NULL,  -- how many of those aren't booked yet
            withheld_transmitted INTEGER NOT NULL,
            PRIMARY KEY (cgroup, process, scope, passage)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE uplink_basis (          -- what an uplink's counters make of merged packets, as far as it is learnt
            ifindex           INTEGER PRIMARY KEY,  -- 0 for the uplink as a whole
            received          TEXT CHECK (received IN ('wire', 'merged')),
            transmitted       TEXT CHECK (transmitted IN ('wire', 'merged'))
        ) STRICT;
        """,
        """
        -- A quota leaves out what applications carried over the uplink, so what they carried elsewhere is known, too.
        DROP VIEW days;
        DROP VIEW buckets;
        DROP INDEX account_name;
        ALTER TABLE account RENAME TO account_of_version_7;
        CREATE TABLE account (               -- what bytes are booked to
            id                 INTEGER PRIMARY KEY,
            kind               TEXT    NOT NULL  -- application_elsewhere: a part of the application's bytes
                CHECK (kind IN ('device', 'collapsed', 'uplink', 'application', 'application_elsewhere', 'uplink_scope')),
            name               ANY     NOT NULL,  -- the device's or application's name, the pattern of the class, or ''
            received_offset    INTEGER NOT NULL,  -- the open counter minus its devices' kernel counters, in `boot`
            transmitted_offset INTEGER NOT NULL,
            boot               INTEGER NOT NULL,
            resets             INTEGER NOT NULL,
            gap_bytes          INTEGER NOT NULL,
            suspect_bytes      INTEGER NOT NULL,
            scope              TEXT    NOT NULL DEFAULT ''  -- of applications and the uplink: where the other ends are
                CHECK (scope IN ('', 'internet', 'lan', 'tunnel', 'other'))
        ) STRICT;
        INSERT INTO account SELECT * FROM account_of_version_7;
        DROP TABLE account_of_version_7;
        CREATE UNIQUE INDEX account_name ON account (kind, name, scope);
        CREATE VIEW days AS
            SELECT date(day * 86400, 'unixepoch') AS date, kind, name, received, transmitted, scope
            FROM day JOIN account ON account.id = day.account;
        CREATE VIEW buckets AS
            SELECT datetime(start, 'unixepoch') AS start_utc, kind, name, received, transmitted, scope
            FROM bucket JOIN account ON account.id = bucket.account;
        """,
    ]
}
