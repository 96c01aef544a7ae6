"""Transactions that a database interrupts are repeated, for as long as whoever waits has patience.

A server restarts, a connection drops, two transactions wait for each other: nothing of such a transaction is
stored (the catalog makes sure of that, see `Catalog.write`), so the function around it runs again.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cocu.errors import UnavailableError

P = ParamSpec("P")
T = TypeVar("T")

REQUEST_PATIENCE = 5.0
"""Seconds for which a database that does not answer is asked again, where somebody waits for the answer."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

_UNAVAILABLE_CLASSES = ("08", "40", "53", "57", "58")
"""Of SQLSTATE: connection, rollback, resources, operator, system."""
_UNAVAILABLE_STATES = ("25006", "55P03")
"""Read-only because a standby took over; waited too long for a lock."""
_NOT_REPEATED = ("53100", "55P03", "57014")
"""Disk full, waited too long, ran too long: trying again at once would be no better."""
_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)

_patience: ContextVar[float] = ContextVar("patience", default=REQUEST_PATIENCE)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class InterruptedTransactionError(UnavailableError):
    """The database ended the transaction without fault of its own; nothing of it is stored."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """How long the functions of the catalog that this thread calls in the block wait for the database."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def deadline() -> float:
    """The moment (of time.monotonic) until which the function that runs now is repeated."""
    end = _deadline.get()
    return time.monotonic() + _patience.get() if end is None else end


def repeated(function: Callable[P, T]) -> Callable[P, T]:
    """A function around a transaction, called again while that is interrupted.

    Raises UnavailableError when patience is over. Functions that call each other share one deadline.
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
            # Of two that waited for each other, one comes back sooner.
            wait = random.uniform(pause / 2, pause)
            if time.monotonic() + wait >= end:
                raise UnavailableError(str(error)) from error
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


@contextmanager
def translated() -> Iterator[None]:
    """Turns what a database in trouble raises into UnavailableError, without its words.

    InterruptedTransactionError where trying again may help. Errors of the statement itself stay as they are.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("every connection to the catalog is in use; try again in a moment") from error
    except DBAPIError as error:
        if not _unavailable(error):
            raise
        if interrupted(error):
            raise InterruptedTransactionError("the catalog does not answer; try again in a moment") from error
        raise UnavailableError("the catalog cannot do this now; try again in a moment") from error


def lost(error: DBAPIError) -> bool:
    """Whether the connection ended with it, so that nobody was told how the transaction did."""
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
