"""A listening socket with a limit of connections, below the limit of descriptors.

The limit is enforced where connections are accepted, so that a burst cannot exceed it. At the limit the
connection that has been idle longest is closed; if none is idle, the new one gets 503.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections import OrderedDict
from typing import Any, Final, Protocol
from weakref import WeakSet

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 60.0
"""The same message is logged at most once in so many seconds."""
ACCEPTS_PER_ROUND: Final = 16
"""The most connections accepted in one round, before the event loop serves the open ones."""
GRACE_ROUNDS: Final = 3
"""Rounds until the first data of a new connection is read; until then it does not count as idle."""
OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PROBLEM: Final = (
    b'{"type":"urn:cocu:problem:unavailable","title":"Too many connections","status":503,'
    b'"detail":"All connections are in use; try again later."}'
)
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s" % (len(_PROBLEM), _PROBLEM)
)


class Connection(Protocol):
    """An open connection."""

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing happens on it until the client sends or reads something."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """The open connections of one server, at most `limit`, the least recently used first.

    If none is idle, there may be a quarter more for a moment: their requests are read, so that health checks
    are answered and others are refused with an answer.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.round = 0
        """How often the event loop has accepted connections; each time it accepts several."""
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._open: OrderedDict[Connection, int] = OrderedDict()
        """Connections that may be closed, each with the round from which it may count as idle."""

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self._count(self.limit) >= self.limit

    @property
    def is_overfull(self) -> bool:
        """Whether the limit and the quarter above it are reached."""
        upper_limit = self.limit + self.limit // 4
        return self._count(upper_limit) >= upper_limit

    def _count(self, enough: int) -> int:
        if len(self._sockets) < enough:
            return len(self._sockets)
        # Closed sockets may still be referenced by garbage: count only the open ones.
        return sum(accepted.fileno() != -1 for accepted in self._sockets)

    def accepted(self, connection: socket.socket) -> None:
        """Count this socket until it is closed."""
        self._sockets.add(connection)

    def opened(self, connection: Connection) -> None:
        """Add a connection to those that may be closed to make room."""
        self._open[connection] = self.round + GRACE_ROUNDS

    def used(self, connection: Connection) -> None:
        """Note that the client sent or read something."""
        if connection in self._open:
            self._open[connection] = 0
            self._open.move_to_end(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)

    def make_room(self) -> bool:
        """Close the connection that has been idle longest; return whether there was one."""
        _warn("all %d connections are in use: those that have been idle longest are closed", self.limit)
        for connection, idle_after in self._open.items():
            if idle_after <= self.round and connection.waits_for_client:
                del self._open[connection]
                connection.abort()
                return True
        return False

    def listening(self, bound: socket.socket) -> ListeningSocket:
        """Return a socket that replaces a bound one and keeps to the limit of connections."""
        listening = ListeningSocket(bound.family, bound.type, bound.proto, bound.detach())
        listening.connections = self
        return listening


class ListeningSocket(socket.socket):
    """A socket whose `accept`, which the event loop calls, keeps to the limit of connections."""

    connections: Connections
    _raised = False
    _in_round = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection, and make room for it.

        Raises BlockingIOError where there is none or it has to wait, as an event loop expects it. Raises
        OSError once where there are no descriptors and no connection is idle: the loop then waits a second.
        """
        connection, address = self._accept_next()
        # Closed connections leave after this round; until then there are a few more than the limit.
        while self.connections.is_full and not self.connections.make_room() and self.connections.is_overfull:
            _refuse(connection)
            connection, address = self._accept_next()
        self.connections.accepted(connection)
        return connection, address

    def _accept_next(self) -> tuple[socket.socket, Any]:
        self._count_accept()
        try:
            return super().accept()
        except BlockingIOError:
            self._end_round()
            raise
        except OSError as error:
            if error.errno not in OUT_OF_DESCRIPTORS:
                raise
            _warn("no connection can be accepted: %s", error)
            self._raised = not (self.connections.make_room() or self._raised)
            if self._raised:
                raise
            # The loop calls again in the same round in spite of the OSError: this ends the round.
            raise BlockingIOError from error

    def _count_accept(self) -> None:
        """Count an accept. Raises BlockingIOError at the limit of a round, which ends it."""
        if self._in_round >= ACCEPTS_PER_ROUND:
            self._end_round()
            raise BlockingIOError
        self._in_round += 1

    def _end_round(self) -> None:
        self._in_round = 0
        self.connections.round += 1


class RepeatFilter(logging.Filter):
    """A filter that passes messages that clients can provoke only once a minute each."""

    _MESSAGES = ("socket.accept()", "Invalid HTTP request", "Unsupported upgrade", "No supported WebSocket")

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged."""
        beginning = next((text for text in self._MESSAGES if str(record.msg).startswith(text)), None)
        if beginning is None:
            return True
        now = time.monotonic()
        if now - self._logged_at.get(beginning, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._logged_at[beginning] = now
        return True


def limit_repeated_logs() -> None:
    """Limit repeated messages of the event loop and uvicorn, so that clients cannot fill the log."""
    for name in ("asyncio", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not any(isinstance(filter_, RepeatFilter) for filter_ in logger.filters):
            logger.addFilter(RepeatFilter())


_logged_at: dict[str, float] = {}


def _warn(message: str, *values: object) -> None:
    now = time.monotonic()
    if now - _logged_at.get(message, -REPEAT_SECONDS) >= REPEAT_SECONDS:
        _logged_at[message] = now
        log.warning(message, *values)


def _refuse(connection: socket.socket) -> None:
    with connection:
        connection.setblocking(False)
        try:
            connection.send(BUSY)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
