"""Opening the catalog, and its two kinds of transaction: `read` and `write`."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, Transaction, create_engine, delete, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, DBAPIError, NoSuchModuleError

from cocu import machine
from cocu.catalog import models, upgrade
from cocu.catalog.db_time import database_seconds
from cocu.catalog.postgres import server_engine
from cocu.catalog.retry import InterruptedTransactionError, deadline, lost, retry_on_outage, translate_errors
from cocu.catalog.upgrade import Exclusive
from cocu.errors import IntegrityError, InvalidInputError, UnavailableError
from cocu.storage.permissions import make_private_file

BUSY_SECONDS = 60.0
"""Seconds for which a writer of SQLite waits for another writer."""

CONNECTIONS = 20
"""Most connections to a server that one process opens."""
_STATUS_PAUSE_SECONDS = 0.1
_FORGOTTEN_SECONDS = 24 * 3600.0
"""Seconds without a commit after which a connection counts as closed."""
# A transaction that has written nothing has no number and needs no row: its lost COMMIT changes nothing.
_NOTE = text(
    "INSERT INTO commits (connection, token, made_at)"
    " SELECT CAST(:connection AS varchar), CAST(:token AS varchar), EXTRACT(EPOCH FROM statement_timestamp())"
    " WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
    " ON CONFLICT (connection) DO UPDATE SET token = excluded.token, made_at = excluded.made_at"
    " RETURNING CAST(pg_current_xact_id() AS text)"
)


@dataclass(frozen=True)
class _UnansweredCommit:
    """A transaction whose COMMIT was not answered: its number, and the token that it wrote into `commits`.

    The number alone does not say how it ended: after a crash the server reuses the numbers of transactions of
    which nothing had reached its log.
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
        database = engine.url.database
        self._file = Path(database) if engine.dialect.name == "sqlite" and database else None

    @classmethod
    def open(cls, url: str, *, connections: int = CONNECTIONS, exclusive: Exclusive = nullcontext) -> Self:
        """Connect, and upgrade the tables under a lock; a SQLite catalog is copied first.

        connections: limit for a server. exclusive: the lock under which a SQLite catalog with data is
        upgraded; it raises ConflictError.

        Raises InvalidInputError for a URL that names no database, and for a database of a newer version or an
        unknown state, which it leaves as it is; IntegrityError for a damaged file; NoRoomError;
        UnavailableError when the database does not answer.
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
            catalog._upgrade(exclusive)
        except BaseException as error:
            engine.dispose()
            clearer = _explain(error, f"the catalog at {parsed.render_as_string()}", catalog._file)
            if clearer is error:
                raise
            raise clearer from error
        return catalog

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view.

        Raises UnavailableError when the database does not answer.
        """
        # A transaction of SQLite always sees one state. By default PostgreSQL sees a new one per statement.
        options: dict[str, Any] = {}
        if self.dialect == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with (
            translate_errors(self._file),
            self._engine.connect() as connection,
            connection.execution_options(**options).begin(),
        ):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; rolled back by an exception.

        On SQLite it holds the only write lock from its beginning, so that what it reads stays true until it
        commits; on PostgreSQL callers lock the rows that their decisions depend on. Raises UnavailableError
        when the database does not answer, and InterruptedTransactionError where it certainly stored nothing:
        if the connection drops during COMMIT, the server is asked afterwards how the transaction ended.
        """
        with translate_errors(self._file), self._engine.connect() as connection:
            with connection.execution_options(writes=True).begin() as transaction:
                yield connection
                unanswered = self._commit(connection, transaction)
            if unanswered is not None:
                self._resolve(unanswered)

    def _commit(self, connection: Connection, transaction: Transaction) -> _UnansweredCommit | None:
        """Commit; return the transaction where the connection was lost before the server answered."""
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
            return _UnansweredCommit(number, name, token)
        return None

    def _resolve(self, unanswered: _UnansweredCommit) -> None:
        """Return when the transaction was committed; raise InterruptedTransactionError when it was not.

        Raises UnavailableError when that cannot be found out in time.
        """
        end = deadline()
        while True:
            status = self._status(unanswered)
            if status == "committed":
                return
            if status == "aborted":
                raise InterruptedTransactionError("the catalog was interrupted; try again in a moment")
            if time.monotonic() >= end:
                raise UnavailableError("it is not known whether this was stored; look before retrying")
            time.sleep(_STATUS_PAUSE_SECONDS)

    def _status(self, unanswered: _UnansweredCommit) -> str:
        """The state of a transaction: "committed", "aborted", "in progress", or "unknown" at the moment."""
        status_query = text("SELECT pg_xact_status(CAST(:number AS xid8))")
        token_query = text("SELECT token FROM commits WHERE connection = :connection")
        try:
            with self._engine.connect() as connection:
                status = str(connection.execute(status_query, {"number": unanswered.number}).scalar_one())
                # Second: if the transaction had committed by then, this statement sees its token.
                token = connection.execute(
                    token_query, {"connection": unanswered.connection}
                ).scalar_one_or_none()
        except DataError:  # unknown number: a standby took over that had not received the transaction
            return "aborted"
        except DBAPIError as error:
            if not lost(error):
                raise
            return "unknown"
        # Another transaction has this number now; see `_UnansweredCommit`.
        return "aborted" if status == "committed" and token != unanswered.token else status

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @retry_on_outage
    def tidy(self) -> None:
        """Delete the rows of `commits` of closed connections."""
        if self.dialect == "postgresql":
            long_ago = models.Commit.made_at < database_seconds() - _FORGOTTEN_SECONDS
            with self.write() as connection:
                connection.execute(delete(models.Commit).where(long_ago))

    def check(self) -> None:
        """Raises UnavailableError when the database does not answer, at once."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    @retry_on_outage
    def version(self) -> str:
        """The version of the tables."""
        with self.read() as connection:
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()

    @retry_on_outage
    def _upgrade(self, exclusive: Exclusive) -> None:
        if self._file is not None:
            with translate_errors(self._file):
                upgrade.upgrade_file(self._engine, self._file, exclusive=exclusive)
            return
        with self.write() as connection:
            upgrade.upgrade_server(connection)


def _explain(error: BaseException, where: str, file: Path | None) -> BaseException:
    """The platform's error for the reason why a catalog does not open."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    machine_error = None if cause is None else machine.find_machine_error(cause, f"open {where}", file=file)
    if machine_error is not None:
        return machine_error
    if isinstance(error, DatabaseError) and _kind(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return IntegrityError(f"{where} is damaged ({_reason(error)}); put back a copy of it")
    if isinstance(error, DatabaseError | UnavailableError):
        return UnavailableError(f"{where} does not open: {_reason(error)}")
    if isinstance(error, InvalidInputError):
        return InvalidInputError(f"{where} cannot be used: {error}")
    return error


def _kind(error: DBAPIError) -> int:
    return (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF


def _reason(error: BaseException) -> str:
    """The message of the database in an error or in its causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError) and cause.orig is not None:
            return str(cause.orig).strip()
        cause = cause.__cause__
    return str(error)


def _sqlite_engine(url: str) -> Engine:
    database = make_url(url).database
    if not database or database == ":memory:":
        raise InvalidInputError(f"{url!r} names no file; write sqlite:////absolute/path/catalog.sqlite")
    with machine.translate_errors("make the folder of the catalog"):
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        # The files that SQLite creates beside it get the same mode.
        make_private_file(Path(database))
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=16, max_overflow=48)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        # The driver must not begin transactions by itself: it does so late, and without the write lock.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and then writes fails if another has written in between. So writers
        # take the write lock at the beginning.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch to write-ahead logging.

    SQLite does not wait for another process that does the same at this moment, so this loop does.
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
