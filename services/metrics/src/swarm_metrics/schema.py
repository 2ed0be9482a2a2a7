"""Tables of the view. No rowids: what a table holds depends on its keys and not on the order in which it was filled."""

from __future__ import annotations

#: Counts up with every change below; the file's name carries it.
VERSION = 1

TABLES = ("runs", "tasks", "metrics", "samples")

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
CREATE INDEX IF NOT EXISTS runs_started ON runs (started);

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
CREATE INDEX IF NOT EXISTS metrics_name ON metrics (name);

CREATE TABLE IF NOT EXISTS samples (
    run   TEXT NOT NULL,
    event TEXT NOT NULL,          -- id of the event that tells it
    name  TEXT NOT NULL,          -- duration, fit, fold, score, cpu, wait
    place INTEGER NOT NULL,
    task  TEXT NOT NULL,
    value REAL NOT NULL,
    unit  TEXT NOT NULL,
    PRIMARY KEY (run, event, name, place)
) WITHOUT ROWID;
"""
