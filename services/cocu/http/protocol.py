"""HTTP connections with timeouts and a limit of their number.

uvicorn limits how long an idle connection is kept open, but neither the time in which a request arrives nor
the time in which a client reads an answer. Here the head of a request must arrive within `head_seconds` of
its first byte, or of the connection. A body may stall, and a client may read nothing, for `idle_seconds`.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from http import HTTPStatus
from urllib.parse import urlsplit

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cocu.http.listener import BUSY, Connections
from cocu.http.problems import problem_response
from cocu.http.turns import Turns

MAX_HEAD_BYTES = 64 << 10
LINGER_SECONDS = 2.0
"""How long a refused client may take to read the answer."""
STOPPING_SECONDS = 1.0
"""How long a client may read nothing when the server stops."""
READ_BYTES = 256 << 10
BODY_READ_BYTES = 1 << 20
"""Bytes per read inside a body. Few large reads: each costs as much as hashing 30 KB."""


class TimeoutProtocol(HttpToolsProtocol):
    """HTTP/1.1 with timeouts; malformed requests are answered with a problem too."""

    head_seconds = 30.0
    idle_seconds = 60.0
    open_connections = Connections(1 << 20)
    turns: Turns | None = None

    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    _refused = False
    _is_overloaded = False
    _waits_for_head = False
    _in_head = False
    _in_body = False
    _head_bytes = 0
    _received_at = 0.0
    _undelivered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.open_connections.opened(self)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and set the deadline for what is still missing."""
        if self._refused:
            return
        self.open_connections.used(self)
        self._received_at = self.loop.time()
        continues_head = self._in_head
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        # `max_size` is an undocumented attribute of asyncio's transport; other transports ignore it.
        self.transport.max_size = BODY_READ_BYTES if self._in_body else READ_BYTES  # type: ignore[attr-defined]
        if self._in_head:
            self._head_bytes += len(data) if continues_head else 0
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")
            elif not self._waits_for_head:
                self._wait_for_head()
        elif self._in_body:
            if self._waits_for_head or self._deadline is None:
                self._set_deadline(self.idle_seconds)
        elif not self._is_answered():
            self._cancel_deadline()
        elif not self._waits_for_head:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Note the beginning of a head."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target. Raises ValueError, answered with 400, for a head that is too large."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; raises as `on_url` does."""
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the answer. The host of an absolute target replaces the header `Host` (RFC 9112).

        Raises ValueError where too many requests wait: the parser then reads no further.
        """
        self._in_head, self._in_body = False, True
        if self.turns is not None and self.turns.refuses(self.url.partition(b"?")[0].decode("latin-1")):
            self._is_overloaded = True
            raise ValueError("too many requests")
        if not self.url.startswith((b"/", b"*")):
            authority = urlsplit(self.url).netloc
            other_headers = [header for header in self.headers if header[0] != b"host"]
            self.headers[:] = [*other_headers, (b"host", authority)]
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # Only HTTP/1.1 is supported, and after an upgrade the parser reads no further.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, without a copy where the application has read all before it."""
        cycle = self.cycle
        if cycle.response_complete or cycle.body:
            super().on_body(body)
            return
        cycle.body = body  # type: ignore[assignment]
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Note the end of the request."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Cancel the deadline: uvicorn limits how long the idle connection is kept open."""
        self._cancel_deadline()
        self.open_connections.used(self)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is sent: watch that it reads anything."""
        super().pause_writing()
        self.open_connections.used(self)
        self._watch_delivery(self.idle_seconds)

    def resume_writing(self) -> None:
        """The client has read enough: stop watching."""
        super().resume_writing()
        self.open_connections.used(self)
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all deadlines, and forget the connection."""
        self._cancel_deadline()
        self.open_connections.closed(self)
        super().connection_lost(exc)
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def shutdown(self) -> None:
        """Close the connection once its answer is sent; abort it soon if the client reads nothing."""
        super().shutdown()
        if self._write_deadline is not None:
            self._watch_delivery(STOPPING_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request, one with too large a head, or one that comes when too many wait."""
        if self._is_overloaded:
            self._refuse_with(BUSY)
            return
        self._refuse(400, "This is not HTTP that can be read, or its headers are larger than 64 KiB.")

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing happens here until the client sends or reads something."""
        if self.transport.is_closing() or self._write_deadline is not None or self._is_answered():
            return True
        return self._in_body and not self.flow.read_paused

    def abort(self) -> None:
        """Close the connection at once, without finishing what it does."""
        self.transport.abort()

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")

    def _wait_for_head(self) -> None:
        self._set_deadline(self.head_seconds)
        self._waits_for_head = True

    def _set_deadline(self, seconds: float) -> None:
        self._waits_for_head = False
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._on_timeout)

    def _cancel_deadline(self) -> None:
        self._waits_for_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_timeout(self) -> None:
        self._deadline = None
        # Data does not move the deadline, which would happen many times a second: it is checked here instead.
        silent_seconds = self.loop.time() - self._received_at
        if self._refused or self.transport.is_closing():
            self.transport.abort()
        elif self._waits_for_head:
            self._refuse(408, f"The request had not arrived after {self.head_seconds:g} seconds.")
        elif self.flow.read_paused:
            # The application does not read the body: the client is not to blame.
            self._set_deadline(self.idle_seconds)
        elif silent_seconds < self.idle_seconds:
            self._set_deadline(self.idle_seconds - silent_seconds)
        else:
            self.transport.close()

    def _watch_delivery(self, seconds: float) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
        self._undelivered = self._count_undelivered()
        self._write_deadline = self.loop.call_later(seconds, self._check_delivery, seconds)

    def _check_delivery(self, seconds: float) -> None:
        if self._count_undelivered() == self._undelivered:
            self.abort()
        else:
            self.open_connections.used(self)
            self._watch_delivery(seconds)

    def _count_undelivered(self) -> int:
        """Return the bytes that have not reached the client: in our buffer, and in that of the kernel."""
        buffered = self.transport.get_write_buffer_size()
        try:
            queued = fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError, TypeError):  # on systems that cannot tell it
            return buffered
        return buffered + int(struct.unpack("i", queued)[0])

    def _refuse(self, status: int, detail: str) -> None:
        response = problem_response(status, detail)
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nconnection: close\r\n".encode()
        headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
        self._refuse_with(head + headers + b"\r\n" + bytes(response.body))

    def _refuse_with(self, answer: bytes) -> None:
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            # The current request ends: the application is told that the client is gone.
            has_begun, self.cycle.disconnected = self.cycle.response_started, True
            self.cycle.message_event.set()
            if has_begun:
                self.transport.close()
                return
        self.transport.write(answer)
        # A close with unread bytes would reset the connection, and the client could lose the answer: send EOF
        # first, and close after a while.
        self.transport.write_eof()
        self._set_deadline(LINGER_SECONDS)


def protocol_class(
    *,
    head_seconds: float,
    idle_seconds: float,
    connections: Connections | None = None,
    turns: Turns | None = None,
) -> type[TimeoutProtocol]:
    """Return a subclass of the protocol with these limits, connections and turns."""
    limits: dict[str, object] = {"head_seconds": head_seconds, "idle_seconds": idle_seconds, "turns": turns}
    if connections is not None:
        limits["open_connections"] = connections
    return type("LimitedProtocol", (TimeoutProtocol,), limits)
