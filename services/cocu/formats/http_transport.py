"""Connections that go where they were told to, and end when they were told to."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Any

import httpcore

from cocu.formats.addresses import Address


class PinnedTransport(httpcore.NetworkBackend):
    """Connects to these addresses, whatever name it is asked for, until a deadline (`time.monotonic`)."""

    def __init__(self, targets: Sequence[Address], port: int, deadline: float) -> None:
        self._targets, self._port, self._deadline = tuple(targets), port, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """The first address that answers."""
        failed: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in self._targets:
            try:
                stream = httpcore.SyncBackend().connect_tcp(
                    str(address), self._port, seconds_left(self._deadline, timeout), None, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
                continue
            return DeadlineStream(stream, self._deadline)
        assert failed is not None
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Any = None
    ) -> httpcore.NetworkStream:
        """Refused."""
        raise httpcore.ConnectError("sockets of this machine are not connected to")


class DeadlineStream(httpcore.NetworkStream):
    """A connection that ends at the deadline, however little comes however often."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What came, at most so many bytes."""
        return self._stream.read(max_bytes, seconds_left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        self._stream.write(buffer, seconds_left(self._deadline, timeout))

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted."""
        left = seconds_left(self._deadline, timeout)
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the connection beneath knows."""
        return self._stream.get_extra_info(info)


class DeadlineExceededError(Exception):
    """The deadline has passed."""


def seconds_left(deadline: float, timeout: float | None) -> float:
    """The smaller of a timeout and what is left; raises DeadlineExceededError when nothing is."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceededError
    return left if timeout is None else min(left, timeout)
