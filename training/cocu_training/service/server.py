"""A training service that answers HTTP from this process: `cocu-train serve`, tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from cocu_training.service.application import create_app
from cocu_training.service.database import Database
from cocu_training.service.keys import Keys
from cocu_training.service.removal import remove_deleted
from cocu_training.service.runner import Runner
from cocu_training.service.runs import Runs
from cocu_training.service.settings import ServiceSettings

STARTUP_SECONDS = 30.0
GRACE_SECONDS = 5


@contextmanager
def training_service(settings: ServiceSettings, listening: socket.socket) -> Iterator[str]:
    """A service on a bound socket; its URL. Raises InUseError where another has its folder.

    Leaving the context ends event streams, and then hands back the run that trains (see ServiceSettings).
    """
    with Database(settings.data) as database:
        runs, keys = Runs(database), Keys(settings.keys_file)
        remove_deleted(runs, settings)
        with Runner(runs, settings) as runner:
            app = create_app(settings=settings, runs=runs, runner=runner, keys=keys)
            # Connections inherit it: without, small answers wait for the client to acknowledge their headers.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            config = uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                http="h11",
                lifespan="off",
                timeout_graceful_shutdown=GRACE_SECONDS,
                h11_max_incomplete_event_size=64 * 1024,
                server_header=False,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
            thread.start()
            try:
                _wait_until_started(server, thread)
                yield _url(listening)
            finally:
                app.state.service.stopping.set()
                server.should_exit = True
                thread.join()


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    for _ in range(int(STARTUP_SECONDS * 100)):
        if server.started or not thread.is_alive():
            break
        pause.wait(0.01)
    if not server.started:
        raise RuntimeError("the HTTP server did not start; its log says why")


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - shown, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
