"""Retries of transactions that the database interrupts, until a timeout.

A server restarts, a connection drops, two transactions wait for each other: nothing of such a transaction is
stored (`Catalog.write` makes sure of that), so the function around it is called again.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cocu import machine
from cocu.errors import NoRoomError, UnavailableError

P = ParamSpec("P")
T = TypeVar("T")

REQUEST_TIMEOUT = 5.0
"""Seconds for which a transaction is retried where a request waits for its result."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

_UNAVAILABLE_CLASSES = ("08", "40", "53", "57", "58")
"""Classes of SQLSTATE: connection, rollback, resources, operator, system."""
_UNAVAILABLE_STATES = ("25006", "55P03")
"""Read-only because a standby took over; waited too long for a lock."""
_DISK_FULL = "53100"
_NOT_REPEATED = (_DISK_FULL, "55P03", "57014")
"""Disk full, waited too long, ran too long: an immediate retry would fail too."""
_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)

_timeout: ContextVar[float] = ContextVar("timeout", default=REQUEST_TIMEOUT)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class InterruptedTransactionError(UnavailableError):
    """The database ended a correct transaction; nothing of it is stored."""


@contextmanager
def timeout(seconds: float) -> Iterator[None]:
    """Set, for a block, for how many seconds functions of the catalog retry in this thread."""
    token = _timeout.set(seconds)
    try:
        yield
    finally:
        _timeout.reset(token)


def deadline() -> float:
    """Return the moment (of time.monotonic) until which the current function is retried."""
    end = _deadline.get()
    return time.monotonic() + _timeout.get() if end is None else end


def retry_on_outage(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function with a transaction: call it again while the database interrupts it.

    Raises UnavailableError when the timeout is over. Functions that call each other share one deadline.
    """

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        end = deadline()
        token = _deadline.set(end)
        try:
            return _repeat(lambda: function(*arguments, **options), end)
        finally:
            _deadline.reset(token)

    return call


def _repeat(attempt: Callable[[], T], end: float) -> T:
    pause = FIRST_PAUSE
    while True:
        try:
            return attempt()
        except InterruptedTransactionError as error:
            # Random, so that two transactions that waited for each other do not meet again.
            wait = random.uniform(pause / 2, pause)
            if time.monotonic() + wait >= end:
                raise UnavailableError(str(error)) from error
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


@contextmanager
def translate_errors(file: Path | None = None) -> Iterator[None]:
    """Turn errors of the database that are not the statement's fault into UnavailableError.

    InterruptedTransactionError where a retry may help. file: of a SQLite catalog; a full disk, missing rights
    and missing descriptors are reported as such. Errors of the statement itself stay as they are.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("every connection to the catalog is in use; try again in a moment") from error
    except DBAPIError as error:
        if not _unavailable(error):
            raise
        if _state(error) == _DISK_FULL:
            raise NoRoomError(
                "cannot write to the catalog: no space left on its server; free some"
            ) from error
        if error.orig is not None:
            machine.raise_machine_error(error.orig, "use the catalog", file=file)
        if interrupted(error):
            raise InterruptedTransactionError("the catalog does not answer; try again in a moment") from error
        raise UnavailableError("the catalog cannot do this now; try again in a moment") from error


def lost(error: DBAPIError) -> bool:
    """Whether the connection was lost with it, so that the result of the transaction is not known."""
    return error.connection_invalidated or (isinstance(error, OperationalError) and _state(error) is None)


def interrupted(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed when it is tried again."""
    if isinstance(error.orig, sqlite3.Error):
        return False
    state = _state(error)
    return lost(error) or (state is not None and _unavailable(error) and state not in _NOT_REPEATED)


def _unavailable(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        # The lower byte is the kind of error, the rest says more about it.
        return (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF in _SQLITE_UNAVAILABLE
    state = _state(error)
    return lost(error) or (
        state is not None and (state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE_STATES)
    )


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)
