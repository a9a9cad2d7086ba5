-- A ledger as version 1 of the schema has it, written by that version's own statements. Never change it: there are
-- files like this on people's machines.
PRAGMA page_size = 1024;
BEGIN TRANSACTION;
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
INSERT INTO "ledger" VALUES(1,1234567890123456789,2,'boot',1,1,1795219200000000002,2,1,-9223372036854775808);
INSERT INTO "account" VALUES(1,'uplink','',0,0,1,0,0,0);
INSERT INTO "account" VALUES(2,'device','eth0',-1,2,1,1,2,3);
INSERT INTO "account" VALUES(3,'device',X'65FF',0,0,1,0,0,0);
INSERT INTO "device" VALUES(1,'eth0',2,1,-1,'metered',1);
INSERT INTO "device" VALUES(2,X'65FF',NULL,5,6,'away',0);
INSERT INTO "bucket" VALUES(1795218600,2,500,20);
INSERT INTO "bucket" VALUES(1795219200,2,1000,30);
INSERT INTO "bucket" VALUES(1795219500,3,7,8);
INSERT INTO "day" VALUES(20777,2,500,20);
INSERT INTO "day" VALUES(20778,2,1000,30);
INSERT INTO "day" VALUES(20778,3,7,8);
INSERT INTO "day_start" VALUES(20777,1795132800);
INSERT INTO "day_start" VALUES(20778,1795219200);
PRAGMA application_id = 1313166421;
PRAGMA user_version = 1;
COMMIT;
PRAGMA journal_mode = WAL;
