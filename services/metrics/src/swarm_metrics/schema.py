"""Tables of the view. No rowids: what a table holds depends on its keys and not on the order in which it was filled."""

from __future__ import annotations

#: Counts up with every change below; the file's name carries it.
VERSION = 2

TABLES = ("runs", "tasks", "metrics", "sets", "samples", "summaries")

SCHEMA = """
CREATE TABLE IF NOT EXISTS position (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq  INTEGER NOT NULL,
    log  TEXT NOT NULL
) WITHOUT ROWID;
INSERT OR IGNORE INTO position VALUES (1, 0, '');

CREATE TABLE IF NOT EXISTS runs (
    run           TEXT PRIMARY KEY,
    suite         TEXT NOT NULL,
    scenario      TEXT NOT NULL,
    session       TEXT NOT NULL,
    status        TEXT NOT NULL,  -- running, completed, failed, cancelled, rejected
    seed          INTEGER,
    params        TEXT,           -- JSON
    request       TEXT NOT NULL,
    trace         TEXT NOT NULL,
    started       TEXT NOT NULL,  -- RFC 3339
    ended         TEXT,
    duration_s    REAL,
    tasks         INTEGER,
    attempts      INTEGER,
    events        INTEGER,
    digest        TEXT,
    deterministic INTEGER,
    targets       TEXT,           -- JSON
    result        TEXT,           -- JSON
    reason        TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
-- Unique, as any index that has the key: from that SQLite knows that samples found run by run are in order.
CREATE UNIQUE INDEX IF NOT EXISTS runs_started ON runs (started, run);
CREATE UNIQUE INDEX IF NOT EXISTS runs_session ON runs (session, started, run);

CREATE TABLE IF NOT EXISTS tasks (
    run         TEXT NOT NULL,
    task        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    service     TEXT NOT NULL,
    lane        TEXT NOT NULL,
    status      TEXT NOT NULL,    -- scheduled, failed, abandoned, done
    attempts    INTEGER NOT NULL,
    failures    INTEGER NOT NULL DEFAULT 0,
    scheduled   TEXT NOT NULL,    -- the first attempt
    concluded   TEXT,
    event       TEXT,             -- id of the result
    duration_us INTEGER,
    error       TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run, task)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS metrics (
    run       TEXT NOT NULL,
    place     INTEGER NOT NULL,   -- in the list of benchmark.completed
    name      TEXT NOT NULL,
    value     REAL,
    unit      TEXT NOT NULL,
    better    TEXT NOT NULL,
    n         INTEGER,
    low       REAL,
    high      REAL,
    estimator TEXT NOT NULL,
    timing    INTEGER NOT NULL,
    source    TEXT NOT NULL,      -- JSON
    reason    TEXT NOT NULL,
    PRIMARY KEY (run, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS metrics_name ON metrics (run, name);

-- What an event tells of one quantity; its values lie in samples.
CREATE TABLE IF NOT EXISTS sets (
    seq    INTEGER NOT NULL,      -- of the event in the log
    part   INTEGER NOT NULL,      -- which of the event's sets
    run    TEXT NOT NULL,
    event  TEXT NOT NULL,         -- id of the event
    task   TEXT NOT NULL,         -- empty where the event tells of none
    name   TEXT NOT NULL,         -- duration, fit, fold, score, cpu, wait, or what the event calls it
    of     TEXT NOT NULL,         -- what was measured: a kind of task, a model, a size
    unit   TEXT NOT NULL,
    clock  TEXT NOT NULL,
    better TEXT NOT NULL,
    time   TEXT NOT NULL,         -- of the event, RFC 3339
    n      INTEGER NOT NULL,
    PRIMARY KEY (seq, part)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sets_run ON sets (run, name);
CREATE INDEX IF NOT EXISTS sets_event ON sets (event);

CREATE TABLE IF NOT EXISTS samples (
    seq   INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    place INTEGER NOT NULL,       -- in the order in which they were taken
    value REAL NOT NULL,
    PRIMARY KEY (seq, part, place)
) WITHOUT ROWID;

-- What a run's samples of one quantity come to, kept up as they arrive: summaries need not read each of them.
CREATE TABLE IF NOT EXISTS summaries (
    run    TEXT NOT NULL,
    name   TEXT NOT NULL,
    of     TEXT NOT NULL,
    unit   TEXT NOT NULL,
    clock  TEXT NOT NULL,
    better TEXT NOT NULL,
    n      INTEGER NOT NULL,
    total  REAL NOT NULL,
    low    REAL NOT NULL,
    high   REAL NOT NULL,
    spread BLOB NOT NULL,         -- see spread.py
    PRIMARY KEY (run, name, of, unit, clock, better)
) WITHOUT ROWID;
"""
