"""A platform served over HTTP from this process, with its embedded workers: `cocu serve`, demo, tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from cocu.api.application import create_app
from cocu.client import CocuClient
from cocu.dashboard import DashboardOptions, create_dashboard
from cocu.http.server import HttpServer
from cocu.neighbours.query import load_kernel
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.pipeline.queue import connected_queue
from cocu.platform import Platform
from cocu.settings import Settings

PAGE_SECONDS = 30.0
"""How long a page of the dashboard waits for one answer of the API."""


@contextmanager
def local_platform(settings: Settings, listening: socket.socket) -> Iterator[LocalServer]:
    """Open a platform, start embedded workers where the settings say so, and serve on a bound socket."""
    with Platform.open(settings, alone=settings.embedded) as platform, ExitStack() as stack:
        server = LocalServer(platform, listening)
        if settings.embedded:
            stack.enter_context(EmbeddedWorkers(platform))
        else:
            stack.enter_context(connected_queue(platform))
        yield stack.enter_context(server)


class LocalServer(HttpServer):
    """Serves a platform on a bound socket, in a thread, while the context lasts.

    Workers run in the same process when the settings say so (`memory://`). Leaving the context ends event
    streams, lets other answers finish for a few seconds, and stops the workers between two tasks.
    """

    def __init__(self, platform: Platform, listening: socket.socket) -> None:
        self.platform = platform
        settings = platform.settings
        dashboard = None
        if settings.dashboard:
            # It asks over HTTP like everybody, at the address that this server listens on.
            dashboard = create_dashboard(
                lambda: CocuClient(self.url, retries=0, timeout=PAGE_SECONDS),
                DashboardOptions(
                    training=settings.training,
                    training_key=None
                    if settings.training_api_key is None
                    else settings.training_api_key.get_secret_value(),
                ),
            )
        app = create_app(platform, dashboard)
        super().__init__(
            app,
            listening,
            stopping=app.state.stopping,
            head_seconds=settings.request_head_seconds,
            # Twice, so that a resumable upload times out first: its answer says where to go on.
            idle_seconds=2 * settings.upload_idle_seconds,
            max_connections=settings.max_connections,
            root_path=settings.root_path,
        )

    def __enter__(self) -> Self:
        # Loading compiled code takes about a second, which the first search would wait for.
        threading.Thread(target=load_kernel, name="kernel", daemon=True).start()
        return super().__enter__()
