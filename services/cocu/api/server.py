"""A platform that answers HTTP from this process, its workers beside it: `cocu serve`, demo, tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

import uvicorn

from cocu.api.application import create_app
from cocu.api.connections import patient
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.workers.embedded import EmbeddedWorkers
from cocu.workers.sending import sending

STARTUP_SECONDS = 30.0
GRACE_SECONDS = 5
"""How long answers that are under way may still take once it is to stop."""


@contextmanager
def local_platform(settings: Settings, listening: socket.socket) -> Iterator[LocalServer]:
    """A platform opened, its workers started where the settings embed them, answering on a bound socket."""
    with Platform.open(settings) as platform, ExitStack() as stack:
        server = LocalServer(platform, listening)
        if settings.embedded:
            stack.enter_context(EmbeddedWorkers(platform))
        else:
            stack.enter_context(sending(platform))
        yield stack.enter_context(server)


class LocalServer:
    """Serves a platform on a bound socket, in a thread, while the context lasts.

    Workers run in the same process when the settings say so (`memory://`). Leaving the context ends event
    streams, lets other answers finish for GRACE_SECONDS, and stops the workers between two chunks of work.
    """

    def __init__(self, platform: Platform, listening: socket.socket) -> None:
        self.platform = platform
        self._listening = listening
        # Connections inherit it. asyncio sets it only where a socket names its protocol, and without it every
        # small answer waits 40 ms for the client to acknowledge its headers.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._app = create_app(platform)
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            http=patient(
                head_seconds=platform.settings.request_head_seconds,
                # A resumable upload loses patience first, and says where to go on.
                idle_seconds=2 * platform.settings.upload_idle_seconds,
            ),
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
            h11_max_incomplete_event_size=64 * 1024,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._listening.getsockname()[:2]
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
        self._app.state.stopping.set()
        self._server.should_exit = True
        self._thread.join()
