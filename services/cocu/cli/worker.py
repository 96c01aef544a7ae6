"""`cocu worker`: processes that run the tasks named by messages from Redis."""

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

THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Check the process on this machine: exit code 0 if it works, else 1 and the reason."
    ),
]

MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port for Prometheus metrics; 0 for a free port; without it, metrics are not served.",
        show_default=False,
    ),
]
MetricsHost = Annotated[str, typer.Option(help="Address for Prometheus metrics.")]


def worker(
    queues: Annotated[
        str,
        typer.Option(
            help="Stages whose tasks it runs, separated by commas; all by default.", show_default=False
        ),
    ] = "",
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Number of processes; each runs one task at a time.",
            show_default="half the cores",
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    check: Check = False,
) -> None:
    """Run tasks for a platform whose broker is Redis; COCU_… variables say where it is."""
    # SIGTERM can come before Celery handles it; without a handler, the first process of a container ignores
    # it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Import only the settings for now: numpy and numba read the number of threads when they are imported.
    from cocu.settings import Settings, usable_cores  # noqa: PLC0415

    settings = Settings.read()
    if check:
        check_heartbeat(settings.heartbeat("worker"), timeout=settings.stuck_seconds)
        return
    if settings.embedded:
        raise CommandFailedError(
            "the broker is memory://, whose workers run inside `cocu serve`; "
            "set COCU_BROKER_URL to redis://… here and there"
        )
    process_count = processes or settings.worker_processes or max(1, usable_cores() // 2)
    cores = settings.worker_cores or max(1, usable_cores() // process_count)
    for name in THREADS_OF_LIBRARIES:
        os.environ.setdefault(name, str(cores))
    settings = settings.model_copy(update={"worker_cores": cores})
    log_to_terminal()
    stages = _stages(queues)
    with ExitStack() as stack:
        server = None
        if metrics_port is not None:
            from cocu.pipeline.metrics_server import shared_metrics  # noqa: PLC0415 - see above

            folder = stack.enter_context(shared_metrics())
            server = stack.enter_context(serve_metrics(metrics_host, metrics_port, folder))
        code = _run(settings, stages=stages, processes=process_count, server=server)
    raise typer.Exit(code)


def _run(settings: Settings, *, stages: list[str], processes: int, server: WSGIServer | None) -> int:
    from cocu.pipeline.prefork import PreforkWorkers  # noqa: PLC0415 - see above

    close = server.socket.close if server is not None else lambda: None
    workers = PreforkWorkers(settings, stages=stages, processes=processes, close_inherited=close)
    console.print(f"processes: {processes}, cores of each: {settings.cores}; they run {', '.join(stages)}")
    return workers.run()


def _stages(queues: str) -> list[str]:
    from cocu.pipeline.stages import STAGES  # noqa: PLC0415

    known = list(STAGES)
    stages = [name.strip() for name in queues.split(",") if name.strip()] or known
    unknown = [name for name in stages if name not in known]
    if unknown:
        raise typer.BadParameter(
            f"there is no queue {unknown[0]!r}; there are {', '.join(known)}", param_hint="--queues"
        )
    return stages


def log_to_terminal() -> None:
    """Log to standard error, where container runtimes collect logs."""
    import logging  # noqa: PLC0415

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", force=True
    )
    logging.captureWarnings(True)


def check_heartbeat(heartbeat: Path, *, timeout: float) -> None:
    """Raise CommandFailedError with the reason if the process of this heartbeat does not work."""
    from cocu.pipeline.heartbeat import error_in  # noqa: PLC0415

    error = error_in(heartbeat, timeout=timeout)
    if error is not None:
        raise CommandFailedError(error)
    console.print("it works")


@contextmanager
def serve_metrics(host: str, port: int, folder: Path | None = None) -> Iterator[WSGIServer]:
    """Serve the metrics of a worker or sweeper and print where; see `cocu.pipeline.metrics_server`."""
    from cocu.pipeline.metrics_server import serve_metrics as serve  # noqa: PLC0415 - see above

    with ExitStack() as stack:
        try:
            server = stack.enter_context(serve(host, port, folder))
        except OSError as error:
            raise CommandFailedError(
                f"cannot serve metrics on {host} port {port}: {error.strerror or error}; "
                "choose others with --metrics-host and --metrics-port"
            ) from error
        console.print(f"metrics for Prometheus on {host} port {server.server_port}")
        yield server
