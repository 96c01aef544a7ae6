"""A server for an ASGI application on a bound socket, in a thread of this process."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn

from cocu.http import descriptors
from cocu.http.listener import Connections, limit_repeated_logs
from cocu.http.protocol import protocol_class
from cocu.http.turns import Turns

STARTUP_SECONDS = 30.0
GRACE_SECONDS = 5
"""How long running answers may still take when the server stops."""


class HttpServer:
    """Serves while the context lasts.

    It raises the limit of open files of this process. When the context ends, `stopping` is set, so that long
    answers end themselves; others may finish within GRACE_SECONDS, and connections whose client reads nothing
    are closed soon.
    """

    def __init__(
        self,
        app: Any,
        listening: socket.socket,
        *,
        stopping: threading.Event,
        head_seconds: float,
        idle_seconds: float,
        max_connections: int,
        root_path: str = "",
    ) -> None:
        limit_repeated_logs()
        connection_limit = descriptors.connections_within(
            descriptors.raise_limit(), requested=max_connections
        )
        connections = Connections(connection_limit)
        # Only a quarter of the connections may wait for a turn: the others are needed to refuse new requests.
        turns = Turns(app, max_waiting=connection_limit // 4, root_path=root_path)
        self._app = app
        self._stopping = stopping
        self._listening = connections.listening(listening)
        # Accepted connections inherit TCP_NODELAY. asyncio sets it only on sockets that name their protocol,
        # and without it every small answer waits 40 ms for the client to acknowledge the headers.
        self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._name = self._listening.getsockname()[:2]
        config = uvicorn.Config(
            turns,
            log_config=None,
            access_log=False,
            # Other loops would not call `accept` of our socket.
            loop="asyncio",
            http=protocol_class(
                head_seconds=head_seconds, idle_seconds=idle_seconds, connections=connections, turns=turns
            ),
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def url(self) -> str:
        """The URL of the server."""
        host, port = self._name
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - shown, not bound
            host = "127.0.0.1"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _serve(self) -> None:
        self._server.run(sockets=[self._listening])

    def __enter__(self) -> Self:
        self._thread.start()
        ready = threading.Event()
        for _ in range(int(STARTUP_SECONDS * 100)):
            if self._server.started or not self._thread.is_alive():
                break
            ready.wait(0.01)
        if not self._server.started:
            raise RuntimeError("the HTTP server did not start; its log says why")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.should_exit = True
        self._thread.join()
