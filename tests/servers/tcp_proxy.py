"""A proxy on localhost between the platform and a server: it delays, refuses and cuts connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Watch = Callable[[bytes], bool]
"""Looks at what a client sends; true where the connection is to be cut there."""

Answer = Callable[[bytes], bytes | None]
"""Looks at what a client sends; what it is answered instead of that being passed on, if anything."""


class TcpProxy:
    """Passes bytes on to a port of localhost. What it does meanwhile may be changed at any time."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._watch: Watch | None = None
        self._forward = False
        self._answer: Answer | None = None
        self.delay_seconds = 0.0
        """How long every piece lies here, in either direction."""
        self.refusing = False
        """Whether new connections are closed at once."""
        self.silent = False
        """Whether nothing is passed on any more, while connections stay open."""
        self.answer_bytes: int | None = None
        """How many bytes every connection answers before it is cut; None for all."""
        self.cuts = 0
        """Connections that `cut_when` or `answer_bytes` has cut."""
        self.answers = 0
        """How often `answer_with` has answered."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def cut_when(self, watch: Watch | None, *, forward: bool) -> None:
        """Cuts a connection as soon as `watch` says so of what its client sends.

        forward: the server gets these bytes all the same; only its answer never arrives.
        """
        with self._lock:
            self._watch, self._forward = watch, forward

    def answer_with(self, answer: Answer | None) -> None:
        """Answers in the place of the server whatever `answer` says so of."""
        with self._lock:
            self._answer = answer

    def cut_all(self) -> None:
        """Cuts every connection there is."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _shut(connection)

    def start(self) -> None:
        """Begins to accept."""
        self._start(self._accept)

    def stop(self) -> None:
        """Cuts everything and ends its threads."""
        self._ended = True
        _shut(self._listener)
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(10)

    def _start(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:  # the server is away
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            self._start(self._connect, client, server)

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        answers = threading.Thread(target=self._carry, args=(server, client, False), daemon=True)
        answers.start()
        self._carry(client, server, True)
        answers.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _carry(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self.delay_seconds)
                while self.silent and not self._ended:
                    time.sleep(0.05)
                instead = self._instead(data) if from_client else None
                if instead is not None:
                    source.sendall(instead)
                    break
                if from_client and self._to_cut(data):
                    if self._forward:
                        # The answer must not get through: it is not read from now on.
                        _shut(source)
                        target.sendall(data)
                    break
                carried += len(data)
                over = 0 if from_client else min(self._over(carried), len(data))
                target.sendall(data[: len(data) - over])
                if over:
                    break
        for one in (source, target):
            _shut(one)

    def _instead(self, data: bytes) -> bytes | None:
        with self._lock:
            instead = None if self._answer is None else self._answer(data)
            self.answers += instead is not None
            return instead

    def _over(self, carried: int) -> int:
        """By how many bytes an answer is longer than it may be."""
        with self._lock:
            over = 0 if self.answer_bytes is None else max(carried - self.answer_bytes, 0)
            self.cuts += over > 0
            return over

    def _to_cut(self, data: bytes) -> bool:
        with self._lock:
            if self._watch is None or not self._watch(data):
                return False
            self.cuts += 1
            return True


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(target: int) -> Iterator[TcpProxy]:
    """A proxy before a port of localhost."""
    proxy = TcpProxy(target)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
