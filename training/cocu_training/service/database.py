"""The service's own SQLite file: runs, what happened to them, and keys of requests that were carried out."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

VERSION = 1
SCHEMA = """
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


class InUseError(RuntimeError):
    """Another service has the data folder."""


class Database:
    """One connection, used by one thread at a time; what was committed is on the disk.

    A lock on the folder keeps a second service away, which would start runs a second time. It ends with the
    process, however that ends. Raises InUseError.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._held = _locked(folder / "lock")
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            folder / "runs.sqlite", check_same_thread=False, isolation_level=None, timeout=30.0
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self.transaction() as connection:
            self._prepare(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and of the folder."""
        with self._lock:
            self._connection.close()
        self._held.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block, or nothing of it."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """What a query finds."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in {0, VERSION}:
            raise RuntimeError(f"runs.sqlite is of version {found}; this service reads version {VERSION}")
        if found == 0:
            # Not executescript, which would commit on its own.
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _locked(file: Path) -> IO[bytes]:
    held = file.open("ab")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise InUseError(
            f"another training service has {file.parent}: stop it, or take another folder"
        ) from error
    return held
