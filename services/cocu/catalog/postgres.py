"""Connections to PostgreSQL: their number, and time limits here and in the server."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url

SILENCE_SECONDS = 45.0
"""Seconds that a server may take to answer; longer than its own limit for a statement."""
_IDLE_CONNECTIONS = 5

# A transaction of the catalog takes milliseconds; these limits end one that hangs in the server.
_TIMEOUTS = {
    "statement_timeout": "30s",
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "60s",
}
_CONNECTING = {
    "application_name": f"cocu@{socket.gethostname()}:{os.getpid()}"[:63],
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "options": " ".join(f"-c {name}={value}" for name, value in _TIMEOUTS.items()),
}


class _Connection(psycopg.Connection[Any]):
    """A connection that closes when its server sends nothing for too long: stopped, or unreachable."""

    silence_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
        seconds = SILENCE_SECONDS if self.silence_seconds is None else self.silence_seconds
        return super().wait(self._watched(gen, time.monotonic() + seconds), *arguments, **options)

    def _watched(self, steps: Generator[Any, Any, Any], end: float) -> Generator[Any, Any, Any]:
        """Run psycopg's steps with a deadline. It takes a step when data arrives, else ten times a second."""
        try:
            request = next(steps)
            while True:
                ready = yield request
                if not ready and time.monotonic() >= end:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server does not answer")
                request = steps.send(ready)
        except StopIteration as finished:
            return finished.value


def server_engine(url: str, connections: int) -> Engine:
    """An engine for a server, with at most so many connections."""
    url_options = make_url(url).query
    idle = min(_IDLE_CONNECTIONS, connections)
    engine = create_engine(
        url,
        connect_args={name: value for name, value in _CONNECTING.items() if name not in url_options},
        pool_pre_ping=True,
        pool_size=idle,
        max_overflow=connections - idle,
        pool_timeout=10.0,
        pool_recycle=1800,
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, record: Any, arguments: Any, options: Any) -> psycopg.Connection[Any]:
        return _Connection.connect(*arguments, **options)

    return engine


def without_limits(connection: Connection) -> None:
    """Remove the time limits of this transaction: it changes tables, or waits for a process that does.

    The connection is not used again afterwards.
    """
    raw: Any = connection.connection.dbapi_connection
    raw.silence_seconds = float("inf")
    for name in ("lock_timeout", "statement_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")
    connection.detach()
