"""Opening the catalog, and its two kinds of transaction: `read` and `write`."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Transaction, create_engine, delete, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, DBAPIError, NoSuchModuleError

from cocu.errors import InvalidInputError, UnavailableError
from cocu.storage.catalog import migrations, models
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.repeating import (
    InterruptedTransactionError,
    deadline,
    lost,
    repeated,
    translated,
)
from cocu.storage.catalog.servers import server_engine

BUSY_SECONDS = 60.0
"""How long a writer of SQLite waits for the writer before it."""


CONNECTIONS = 20
"""Connections to a server that one process opens at most."""
_SETTLING_SECONDS = 0.1
_FORGOTTEN_SECONDS = 24 * 3600.0
"""After how long a connection that has committed nothing is taken for closed."""
_NOTE = text(
    "INSERT INTO commits (connection, token, made_at)"
    " SELECT CAST(:connection AS varchar), CAST(:token AS varchar), EXTRACT(EPOCH FROM statement_timestamp())"
    " WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
    " ON CONFLICT (connection) DO UPDATE SET token = excluded.token, made_at = excluded.made_at"
    " RETURNING CAST(pg_current_xact_id() AS text)"
)


@dataclass(frozen=True)
class _Ending:
    """A transaction whose COMMIT was not answered: its number, and what it has noted of itself.

    The number alone does not tell how it ended: after a crash, the numbers of transactions of which nothing
    had reached the server's log are given to others.
    """

    number: str
    connection: str
    token: str


class Catalog:
    """The catalog at a URL, migrated to this version's tables; safe to use from many threads and processes.

    Queries are functions of the modules beside this one; each runs in one transaction of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str, *, connections: int = CONNECTIONS) -> Self:
        """Connects, and upgrades the tables under a lock.

        connections: to a server, at most. Raises InvalidInputError for a URL that names no database, or the
        database of a newer version; UnavailableError when the database does not answer.
        """
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() == "sqlite":
                engine = _sqlite_engine(url)
            else:
                engine = server_engine(url, connections)
        except (ArgumentError, NoSuchModuleError) as error:
            raise InvalidInputError(f"{url!r} is not the address of a catalog: {error}") from error
        catalog = cls(engine)
        try:
            catalog._upgrade()
        except (DatabaseError, UnavailableError) as error:
            engine.dispose()
            raise UnavailableError(
                f"the catalog at {parsed.render_as_string()} does not open: {_reason(error)}"
            ) from error
        except CommandError as error:
            engine.dispose()
            raise InvalidInputError(
                f"the catalog at {parsed.render_as_string()} is not of this version: {error}; "
                "run the version that made it, or a newer one"
            ) from error
        return catalog

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view.

        Raises UnavailableError when the database does not answer.
        """
        # SQLite's transactions see one moment anyway; PostgreSQL's see a new one with every statement.
        options: dict[str, Any] = {}
        if self.dialect == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with (
            translated(),
            self._engine.connect() as connection,
            connection.execution_options(**options).begin(),
        ):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; rolled back by an exception.

        On SQLite it holds the one write lock from its beginning, so that what it reads stays true until it
        commits; on PostgreSQL it locks the rows that it decides by. Raises UnavailableError when the database
        does not answer, and InterruptedTransactionError where it certainly stored nothing: a connection that
        drops while it commits is no doubt, the server knows how that ended.
        """
        with translated(), self._engine.connect() as connection:
            with connection.execution_options(writes=True).begin() as transaction:
                yield connection
                settled = self._commit(connection, transaction)
            if settled is not None:
                self._settle(settled)

    def _commit(self, connection: Connection, transaction: Transaction) -> _Ending | None:
        """Commits; what is to be settled if the connection was lost before the server answered."""
        if self.dialect == "sqlite":
            transaction.commit()
            return None
        name: str = connection.info.setdefault("cocu_name", secrets.token_hex(16))
        token = secrets.token_hex(16)
        number = connection.execute(_NOTE, {"connection": name, "token": token}).scalar_one_or_none()
        try:
            transaction.commit()
        except DBAPIError as error:
            if number is None or not lost(error):
                raise
            return _Ending(number, name, token)
        return None

    def _settle(self, ending: _Ending) -> None:
        """Returns when the transaction was committed, raises InterruptedTransactionError when it was not.

        Raises UnavailableError while that cannot be told.
        """
        end = deadline()
        while True:
            status = self._status(ending)
            if status == "committed":
                return
            if status == "aborted":
                raise InterruptedTransactionError("the catalog was interrupted; try again in a moment")
            if time.monotonic() >= end:
                raise UnavailableError(
                    "the catalog does not tell whether this was stored; look before retrying"
                )
            time.sleep(_SETTLING_SECONDS)

    def _status(self, ending: _Ending) -> str:
        """What became of a transaction: "committed", "aborted", "in progress", or "unknown" at the moment."""
        asked = text("SELECT pg_xact_status(CAST(:number AS xid8))")
        noted = text("SELECT token FROM commits WHERE connection = :connection")
        try:
            with self._engine.connect() as connection:
                status = str(connection.execute(asked, {"number": ending.number}).scalar_one())
                # Afterwards: what was committed when that was asked is seen by this statement.
                token = connection.execute(noted, {"connection": ending.connection}).scalar_one_or_none()
        except DataError:  # the server has never heard of it: a standby took over that had not received it
            return "aborted"
        except DBAPIError as error:
            if not lost(error):
                raise
            return "unknown"
        return "aborted" if status == "committed" and token != ending.token else status

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @repeated
    def tidy(self) -> None:
        """Forgets what connections have committed that are closed by now."""
        if self.dialect == "postgresql":
            long_ago = models.Commit.made_at < database_seconds() - _FORGOTTEN_SECONDS
            with self.write() as connection:
                connection.execute(delete(models.Commit).where(long_ago))

    def check(self) -> None:
        """Raises UnavailableError when the database does not answer, at once."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    @repeated
    def version(self) -> str:
        """The version of the tables."""
        with self.read() as connection:
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())

    def close(self) -> None:
        """Closes every connection that is not in use."""
        self._engine.dispose()

    @repeated
    def _upgrade(self) -> None:
        with self.write() as connection:
            migrations.upgrade(connection)


def _reason(error: BaseException) -> str:
    """What the database said, of an error or of what it came from."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, DBAPIError) and found.orig is not None:
            return str(found.orig).strip()
        found = found.__cause__
    return str(error)


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
