"""`cocu sweeper`: sends lost messages to workers again, and ends tasks and uploads that timed out."""

from __future__ import annotations

from contextlib import ExitStack

from cocu.cli.failures import CommandFailedError
from cocu.cli.output import console
from cocu.cli.serve import stop_signal
from cocu.cli.worker import Check, MetricsHost, MetricsPort, check_heartbeat, log_to_terminal, serve_metrics


def sweeper(
    metrics_port: MetricsPort = None, metrics_host: MetricsHost = "127.0.0.1", check: Check = False
) -> None:
    """Supervise the tasks of a platform whose broker is Redis; any number of sweepers may run."""
    from cocu.settings import Settings  # noqa: PLC0415 - only commands that start a server import it

    settings = Settings.read()
    if check:
        check_heartbeat(settings.heartbeat("sweeper"), timeout=settings.stuck_seconds)
        return
    if settings.embedded:
        raise CommandFailedError("the broker is memory://, whose sweeper runs inside `cocu serve`")
    from cocu.pipeline.heartbeat import Heartbeat  # noqa: PLC0415
    from cocu.pipeline.queue import connected_queue  # noqa: PLC0415
    from cocu.pipeline.sweeper import Sweeper  # noqa: PLC0415
    from cocu.platform import Platform  # noqa: PLC0415

    log_to_terminal()
    heartbeat = Heartbeat(settings.heartbeat("sweeper"))
    with (
        stop_signal() as wait,
        Platform.open(settings) as platform,
        connected_queue(platform) as queue,
        ExitStack() as stack,
    ):
        if metrics_port is not None:
            stack.enter_context(serve_metrics(metrics_host, metrics_port))
        service = Sweeper(
            platform,
            queue,
            on_sweep=lambda error: heartbeat.beat(None if error is None else str(error)),
        )
        service.start()
        console.print(f"sweeping every {settings.sweep_seconds:g} s")
        wait()
        service.stop()
    heartbeat.end()
