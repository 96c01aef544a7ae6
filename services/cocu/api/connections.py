"""Connections that do not wait for ever: limits in time for requests that never get complete.

uvicorn limits how long an idle connection is kept, but not how long a request may take to arrive. Here the
head of a request must arrive within `head_seconds` of its first byte, or of the connection; a body may fall
silent for `idle_seconds` while it is waited for. Answers may take as long as they take.

The inside of a body whose length the head told goes past the parser, which has nothing to find there and
would copy it four times; the head, chunks, and a body's last bytes do not.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from h11._readers import ContentLengthReader
from uvicorn.protocols.http.h11_impl import H11Protocol

from cocu.api.problems import MEDIA_TYPE, problem_response

LINGER_SECONDS = 2.0
"""How long who was refused may take to read it."""
READ_BYTES = 256 << 10
BODY_READ_BYTES = 1 << 20
"""How much is read at once inside a body: each time costs as much as hashing 30 KB."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 whose patience ends; what is not HTTP is answered with a problem too."""

    head_seconds = 30.0
    idle_seconds = 60.0

    _deadline: asyncio.TimerHandle | None = None
    _refused = False
    _in_head = False
    _heard_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what came, and say until when what is missing is waited for."""
        if self._refused:
            return
        self._heard_at = self.loop.time()
        passed_on = self._passed_on(data)
        # asyncio offers no other way to say it; other transports do not look there.
        self.transport.max_size = BODY_READ_BYTES if passed_on else READ_BYTES  # type: ignore[attr-defined]
        if passed_on:
            return
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self.conn.their_state is h11.SEND_BODY:
            self._wait(self.idle_seconds)
            self._in_head = False
        elif self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self.conn.our_state is h11.IDLE and not self._in_head:
            self._wait_for_head()

    def _passed_on(self, data: bytes) -> bool:
        """Whether it was the inside of a body, and the application has it."""
        reader = self.conn._reader
        if not isinstance(reader, ContentLengthReader) or len(data) >= reader._remaining:
            return False
        unread, _ = self.conn.trailing_data
        if unread or self.conn.their_state is not h11.SEND_BODY or self.conn.our_state is h11.DONE:
            return False
        reader._remaining -= len(data)
        cycle = self.cycle
        if cycle.body:
            # It is slower than what comes.
            cycle.body += data
            self.flow.pause_reading()
        else:
            # Bytes, which it hands on without a copy.
            cycle.body = data  # type: ignore[assignment]
        cycle.message_event.set()
        return True

    def on_response_complete(self) -> None:
        """A connection that is kept is limited by uvicorn, until the next request begins."""
        self._forget()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._forget()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as HTTP, or has a head larger than the limit."""
        self._refuse(400, "This is not HTTP that can be read, or its headers are larger than 64 KiB.")

    def _wait_for_head(self) -> None:
        self._wait(self.head_seconds)
        self._in_head = True

    def _wait(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._lose_patience)

    def _forget(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _lose_patience(self) -> None:
        self._deadline = None
        # What passes by the parser does not move the deadline, as it would many times a second.
        heard = self.loop.time() - self._heard_at
        if self._refused or self.transport.is_closing():
            self.transport.close()
        elif self._in_head:
            self._refuse(408, f"The request had not arrived after {self.head_seconds:g} seconds.")
        elif self.flow.read_paused:
            # Its body waits for us, not we for it.
            self._wait(self.idle_seconds)
        elif heard < self.idle_seconds:
            self._wait(self.idle_seconds - heard)
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        body = bytes(problem_response(status, detail).body)
        headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(body))), ("connection", "close")]
        parts: list[Any] = [h11.Response(status_code=status, headers=headers), h11.Data(data=body)]
        for part in [*parts, h11.EndOfMessage()]:
            self.transport.write(self.conn.send(part) or b"")
        # Closed at once, with bytes of theirs unread, the connection would be reset and the answer lost.
        self._refused = True
        self.transport.write_eof()
        self._wait(LINGER_SECONDS)


def patient(*, head_seconds: float, idle_seconds: float) -> type[PatientProtocol]:
    """The protocol with these limits."""
    return type("Patient", (PatientProtocol,), {"head_seconds": head_seconds, "idle_seconds": idle_seconds})
