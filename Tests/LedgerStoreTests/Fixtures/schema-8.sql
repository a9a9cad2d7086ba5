-- A ledger as version 8 of the schema has it, written by that version's own statements. Never change it: there are
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
, attachment INTEGER, application_buckets_from INTEGER NOT NULL DEFAULT -9223372036854775808) STRICT;
INSERT INTO ledger VALUES(1,1234567890123456789,2,'boot',1,1,1795219200000000002,2,1,-9223372036854775808,4711,-9223372036854775808);
CREATE TABLE device (                -- baselines: the counters up to which everything is booked
    ifindex      INTEGER PRIMARY KEY,
    name         ANY     NOT NULL,
    account      INTEGER,
    received     INTEGER NOT NULL,   -- as the kernel shows it; above 2^63 it reads negative
    transmitted  INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('metered', 'away')),
    uplink       INTEGER NOT NULL    -- 1 when it held the default route
, address BLOB) STRICT;
INSERT INTO device VALUES(1,'eth0',2,1,-1,'metered',1,X'020000000001');
INSERT INTO device VALUES(2,X'65ff',NULL,5,6,'away',0,NULL);
CREATE TABLE bucket (                -- five minutes of UTC, from `start` on
    start        INTEGER NOT NULL,
    account      INTEGER NOT NULL,
    received     INTEGER NOT NULL CHECK (received >= 0),
    transmitted  INTEGER NOT NULL CHECK (transmitted >= 0),
    PRIMARY KEY (start, account)
) STRICT, WITHOUT ROWID;
INSERT INTO bucket VALUES(1795218600,2,500,20);
INSERT INTO bucket VALUES(1795219200,2,1000,30);
INSERT INTO bucket VALUES(1795219500,3,7,8);
CREATE TABLE day (                   -- local days, kept for ever
    day          INTEGER NOT NULL,
    account      INTEGER NOT NULL,
    received     INTEGER NOT NULL CHECK (received >= 0),
    transmitted  INTEGER NOT NULL CHECK (transmitted >= 0),
    PRIMARY KEY (day, account)
) STRICT, WITHOUT ROWID;
INSERT INTO day VALUES(20777,2,500,20);
INSERT INTO day VALUES(20778,2,1000,30);
INSERT INTO day VALUES(20778,3,7,8);
CREATE TABLE day_start (             -- when each booked day began, by the zone it was booked in
    day    INTEGER PRIMARY KEY,
    start  INTEGER NOT NULL
) STRICT;
INSERT INTO day_start VALUES(20777,1795132800);
INSERT INTO day_start VALUES(20778,1795219200);
CREATE TABLE adjustment (            -- what the owner told about quotas, kept for ever
    id           INTEGER PRIMARY KEY,
    quota        TEXT    NOT NULL,
    kind         TEXT    NOT NULL CHECK (kind IN ('correction', 'top-up')),
    at           INTEGER NOT NULL,   -- holds from then on, in the cycle that holds this moment
    bytes        INTEGER NOT NULL CHECK (bytes >= 0),  -- used until then, or added to the limit
    entered_at   INTEGER NOT NULL,
    undone_at    INTEGER             -- NULL while it holds
, cycle_start INTEGER) STRICT;
INSERT INTO adjustment VALUES(1,'home','correction',1795219260,312000000000,1795219300,NULL,1793491200);
INSERT INTO adjustment VALUES(2,'home','top-up',1795219400,50000000000,1795219400,1795219500,NULL);
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
INSERT INTO quota_event VALUES(1,'home',1793491200,1796083200,'warning',800000,1795219000,800000000000,1000000000000,0);
INSERT INTO quota_event VALUES(2,'home',1793491200,1796083200,'breach',1000000,1795219100,1000000000000,1000000000000,1);
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
INSERT INTO committed_cycle VALUES('transit',1790812800,1793491200,100000000,3000000000,8928,12);
CREATE TABLE unread (                -- time in which nothing was read
    start_at     INTEGER NOT NULL,
    end_at       INTEGER NOT NULL
) STRICT;
INSERT INTO unread VALUES(-9223372036854775808,1795219200);
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
INSERT INTO taken VALUES(2,'eth0',1790812800,1795219200,1795219200,300,7,300,7,0,0);
CREATE TABLE import (                -- accounts for which there was something to be taken over
    account      INTEGER PRIMARY KEY,
    own_from     INTEGER,            -- their first reading here, before which something may be taken over
    taken_from   INTEGER,            -- the beginning of what was taken over, and its end
    taken_until  INTEGER,
    clock        TEXT                -- the offsets of the clock by which it was told, if it told none
) STRICT;
INSERT INTO import VALUES(2,1795219200,1790812800,1795219200,'UTC');
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
INSERT INTO fall VALUES(1,'received',1795219200000000000,1000000000000,1010000000000,1,7,3,4,9,8);
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
INSERT INTO application_counter VALUES(7,X'6375726c','internet','uplink','curl',1000,200,30,4,5,0);
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
INSERT INTO uplink_counter VALUES(1,'lan',500,60,7,0,0,1);
CREATE TABLE uplink_basis (          -- what an uplink's counters make of merged packets, as far as it is learnt
    ifindex           INTEGER PRIMARY KEY,  -- 0 for the uplink as a whole
    received          TEXT CHECK (received IN ('wire', 'merged')),
    transmitted       TEXT CHECK (transmitted IN ('wire', 'merged'))
) STRICT;
INSERT INTO uplink_basis VALUES(1,'wire',NULL);
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
INSERT INTO account VALUES(1,'uplink','',0,0,1,0,0,0,'');
INSERT INTO account VALUES(2,'device','eth0',-1,2,1,1,2,3,'');
INSERT INTO account VALUES(3,'device',X'65ff',0,0,1,0,0,0,'');
CREATE INDEX taken_source ON taken (source);
CREATE INDEX taken_own ON taken (account) WHERE own_received > 0 OR own_transmitted > 0;
CREATE INDEX quota_event_cycle ON quota_event (quota, cycle_end);
CREATE UNIQUE INDEX account_name ON account (kind, name, scope);
CREATE VIEW days AS
    SELECT date(day * 86400, 'unixepoch') AS date, kind, name, received, transmitted, scope
    FROM day JOIN account ON account.id = day.account;
CREATE VIEW buckets AS
    SELECT datetime(start, 'unixepoch') AS start_utc, kind, name, received, transmitted, scope
    FROM bucket JOIN account ON account.id = bucket.account;
COMMIT;
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1313166421;
PRAGMA user_version = 8;
