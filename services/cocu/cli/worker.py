"""`cocu worker`: processes that run chunks, on the messages of Redis."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cocu.cli.failures import CommandFailedError
from cocu.cli.output import console

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from cocu.settings import Settings
    from cocu.storage.catalog.states import Stage

THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Look whether the one on this machine gets on: exit code 0, or 1 and why not."
    ),
]

MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port to serve figures for Prometheus on; 0 takes a free one, none without it.",
        show_default=False,
    ),
]
MetricsHost = Annotated[str, typer.Option(help="Address to serve them on.")]


def worker(
    queues: Annotated[
        str,
        typer.Option(
            help="Stages whose chunks it runs, with commas between them; all without it.", show_default=False
        ),
    ] = "",
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Processes, each with one chunk at a time.", show_default="half the cores"
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    check: Check = False,
) -> None:
    """Run chunks of work for a platform whose broker is Redis; the environment says which (COCU_…)."""
    # It may be asked to stop before Celery listens; as the first process of a container it would not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Only the settings yet: numpy and numba read the number of their threads when they are imported.
    from cocu.settings import Settings, usable_cores  # noqa: PLC0415

    settings = Settings()
    if check:
        report(settings.heartbeat("worker"), patience=settings.stuck_seconds)
        return
    if settings.embedded:
        raise CommandFailedError(
            "the broker is memory://, whose workers run inside `cocu serve`; "
            "set COCU_BROKER_URL to redis://… here and there"
        )
    chosen = processes or settings.worker_processes or max(1, usable_cores() // 2)
    cores = settings.worker_cores or max(1, usable_cores() // chosen)
    for name in THREADS_OF_LIBRARIES:
        os.environ.setdefault(name, str(cores))
    settings = settings.model_copy(update={"worker_cores": cores})
    log_to_terminal()
    stages = _stages(queues)
    with ExitStack() as stack:
        server = None
        if metrics_port is not None:
            from cocu.workers.exposing import shared_figures  # noqa: PLC0415 - see above

            folder = stack.enter_context(shared_figures())
            server = stack.enter_context(serve_figures(metrics_host, metrics_port, folder))
        code = _run(settings, stages=stages, processes=chosen, server=server)
    raise typer.Exit(code)


def _run(settings: Settings, *, stages: list[Stage], processes: int, server: WSGIServer | None) -> int:
    from cocu.workers.prefork import PreforkWorkers  # noqa: PLC0415 - see above

    close = server.socket.close if server is not None else lambda: None
    workers = PreforkWorkers(settings, stages=stages, processes=processes, close_inherited=close)
    console.print(f"processes: {processes}, cores of each: {settings.cores}; they run {', '.join(stages)}")
    return workers.run()


def _stages(queues: str) -> list[Stage]:
    from cocu.storage.catalog.states import Stage  # noqa: PLC0415

    known = [stage.value for stage in Stage]
    named = [name.strip() for name in queues.split(",") if name.strip()] or known
    unknown = [name for name in named if name not in known]
    if unknown:
        raise typer.BadParameter(
            f"there is no queue {unknown[0]!r}; there are {', '.join(known)}", param_hint="--queues"
        )
    return [Stage(name) for name in named]


def log_to_terminal() -> None:
    """Send what the platform logs to standard error, where containers are listened to."""
    import logging  # noqa: PLC0415

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", force=True
    )
    logging.captureWarnings(True)


def report(heartbeat: Path, *, patience: float) -> None:
    """Exit with code 1 and say why where the process of this heartbeat does not get on."""
    from cocu.workers.heartbeat import trouble_in  # noqa: PLC0415

    trouble = trouble_in(heartbeat, patience=patience)
    if trouble is not None:
        raise CommandFailedError(trouble)
    console.print("it gets on")


@contextmanager
def serve_figures(host: str, port: int, folder: Path | None = None) -> Iterator[WSGIServer]:
    """Serves the figures of a worker or sweeper, and says where; see `cocu.workers.exposing`."""
    from cocu.workers.exposing import exposed  # noqa: PLC0415 - see above

    with ExitStack() as stack:
        try:
            server = stack.enter_context(exposed(host, port, folder))
        except OSError as error:
            raise CommandFailedError(
                f"cannot serve figures on {host} port {port}: {error.strerror or error}; "
                "choose others with --metrics-host and --metrics-port"
            ) from error
        console.print(f"figures for Prometheus on {host} port {server.server_port}")
        yield server
