"""A training service that answers HTTP from this process: `cocu-train serve`, tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cocu.http.server import HttpServer
from cocu_training.service.application import create_app
from cocu_training.service.database import Database
from cocu_training.service.figures import sum_up_everything
from cocu_training.service.keys import Keys
from cocu_training.service.removal import remove_deleted
from cocu_training.service.runner import Runner
from cocu_training.service.runs import Runs
from cocu_training.service.settings import ServiceSettings

HEAD_SECONDS = 30.0
IDLE_SECONDS = 60.0
"""Limits for a request to arrive, and for a connection that sends no body or takes no answer."""


@contextmanager
def training_service(settings: ServiceSettings, listening: socket.socket) -> Iterator[str]:
    """Run a service on a bound socket; yield its URL. Raises InUseError where another one uses its folder.

    At the end of the block event streams end, then the running run is stopped and queued again, unless
    `leave_running` is set.
    """
    with Database(settings.data, fill=sum_up_everything) as database:
        runs, keys = Runs(database), Keys(settings.keys_file, settings.keys_note)
        remove_deleted(runs, settings)
        with Runner(runs, settings) as runner:
            app = create_app(settings=settings, runs=runs, runner=runner, keys=keys)
            with HttpServer(
                app,
                listening,
                stopping=app.state.service.stopping,
                head_seconds=HEAD_SECONDS,
                idle_seconds=IDLE_SECONDS,
                max_connections=settings.max_connections,
            ) as server:
                yield server.url
