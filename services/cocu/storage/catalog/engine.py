"""Opening the catalog, and its two kinds of transaction: `read` and `write`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError

from cocu.errors import InvalidInputError, UnavailableError
from cocu.storage.catalog import migrations

BUSY_SECONDS = 60.0
"""How long a writer of SQLite waits for the writer before it."""


class Catalog:
    """The catalog at a URL, migrated to this version's tables; safe to use from many threads and processes.

    Queries are functions of the modules beside this one; each runs in one transaction of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Connects, and upgrades the tables under a lock.

        Raises InvalidInputError for a URL that names no database, UnavailableError when the database does not
        answer.
        """
        try:
            parsed = make_url(url)
            engine = _sqlite_engine(url) if parsed.get_backend_name() == "sqlite" else _server_engine(url)
        except ArgumentError as error:
            raise InvalidInputError(f"{url!r} is not the address of a catalog: {error}") from error
        catalog = cls(engine)
        try:
            with catalog.write() as connection:
                migrations.upgrade(connection)
        except DatabaseError as error:
            engine.dispose()
            raise UnavailableError(
                f"the catalog at {parsed.render_as_string()} does not open: {error.orig}"
            ) from error
        return catalog

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view."""
        # SQLite's transactions see one moment anyway; PostgreSQL's see a new one with every statement.
        options = {} if self.dialect == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; rolled back by an exception.

        On SQLite it holds the one write lock from its beginning, so that what it reads stays true until it
        commits.
        """
        with self._engine.connect() as connection, connection.execution_options(writes=True).begin():
            yield connection

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def check(self) -> None:
        """Raises UnavailableError when the database does not answer."""
        try:
            with self.read() as connection:
                connection.execute(text("SELECT 1"))
        except DatabaseError as error:
            raise UnavailableError(f"the catalog does not answer: {error.orig}") from error

    def close(self) -> None:
        """Closes every connection that is not in use."""
        self._engine.dispose()


def _server_engine(url: str) -> Engine:
    return create_engine(url, pool_pre_ping=True)


def _sqlite_engine(url: str) -> Engine:
    database = make_url(url).database
    if not database or database == ":memory:":
        raise InvalidInputError(f"{url!r} names no file; write sqlite:////absolute/path/catalog.sqlite")
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=16, max_overflow=48)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        # The driver must not begin transactions by itself: it would begin them deferred, and late.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A reader that turns into a writer fails at once if another has written meanwhile; so writers say it
        # first.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switches to write-ahead logging.

    SQLite does not wait for others who are doing the same at this moment, so this does.
    """
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(0.01)
        else:
            return
