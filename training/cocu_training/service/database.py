"""The service's own SQLite file: runs, their events, and keys of requests that were carried out."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

VERSION = 2
FIRST_VERSION = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    name TEXT,
    curation TEXT NOT NULL,
    configuration TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT,
    created_at REAL NOT NULL,
    queued_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    step INTEGER NOT NULL DEFAULT 0,
    steps INTEGER,
    starts INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    last_event TEXT,
    pid INTEGER,
    process_started TEXT,
    lines INTEGER NOT NULL DEFAULT 0,
    file_before INTEGER
);
CREATE INDEX runs_of_tenant ON runs (tenant, number);
CREATE INDEX runs_by_state ON runs (state, queued_at);
CREATE TABLE events (
    run TEXT NOT NULL REFERENCES runs (id),
    id INTEGER NOT NULL,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (run, id)
) WITHOUT ROWID;
CREATE TABLE requests (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE TABLE deleted (
    run TEXT PRIMARY KEY
) WITHOUT ROWID;
"""
SECOND_VERSION = """
CREATE TABLE summaries (
    run TEXT PRIMARY KEY REFERENCES runs (id),
    width INTEGER NOT NULL,
    step INTEGER NOT NULL,
    latest TEXT,
    evaluation TEXT
) WITHOUT ROWID;
CREATE TABLE figures (
    run TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    first_value REAL NOT NULL,
    low_step INTEGER NOT NULL,
    low_value REAL NOT NULL,
    high_step INTEGER NOT NULL,
    high_value REAL NOT NULL,
    last_step INTEGER NOT NULL,
    last_value REAL NOT NULL,
    PRIMARY KEY (run, name, start)
) WITHOUT ROWID;
CREATE INDEX evaluations ON events (run, id) WHERE kind = 'evaluation';
CREATE INDEX runs_of_curation ON runs (tenant, curation, number);
"""


class InUseError(RuntimeError):
    """Another service uses the data folder."""


class Database:
    """One connection, used by one thread at a time. After a commit the data is on disk.

    The folder is locked: a second service would start runs twice. The system releases the lock when the
    process ends. fill: called in the transaction that brings a file of version 1 to the present one. Raises
    InUseError.
    """

    def __init__(self, folder: Path, *, fill: Callable[[sqlite3.Connection], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder_lock = _locked(folder / "lock")
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            folder / "runs.sqlite", check_same_thread=False, isolation_level=None, timeout=30.0
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self.transaction() as connection:
            _prepare(connection, fill)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the folder."""
        with self._lock:
            self._connection.close()
        self._folder_lock.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: commit after the block, roll back after an exception."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """Run a query; return its rows."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()


def _prepare(connection: sqlite3.Connection, fill: Callable[[sqlite3.Connection], None]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise RuntimeError(f"runs.sqlite is of version {version}; this service reads up to {VERSION}")
    if version == VERSION:
        return
    # Not executescript, which would commit on its own.
    for statement in (FIRST_VERSION if version == 0 else "").split(";") + SECOND_VERSION.split(";"):
        connection.execute(statement)
    fill(connection)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _locked(file: Path) -> IO[bytes]:
    lock = file.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise InUseError(
            f"another training service uses {file.parent}: stop it, or choose another folder"
        ) from error
    return lock
