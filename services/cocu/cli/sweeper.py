"""`cocu sweeper`: sends again what was lost on the way to workers, and ends what has outlived its time."""

from __future__ import annotations

from contextlib import ExitStack

from cocu.cli.failures import CommandFailedError
from cocu.cli.output import console
from cocu.cli.serve import until_signalled
from cocu.cli.worker import Check, MetricsHost, MetricsPort, log_to_terminal, report, serve_figures


def sweeper(
    metrics_port: MetricsPort = None, metrics_host: MetricsHost = "127.0.0.1", check: Check = False
) -> None:
    """Look after the chunks of a platform whose broker is Redis; any number of sweepers may run."""
    from cocu.settings import Settings  # noqa: PLC0415 - the server is imported only where one is started

    settings = Settings()
    if check:
        report(settings.heartbeat("sweeper"), patience=settings.stuck_seconds)
        return
    if settings.embedded:
        raise CommandFailedError("the broker is memory://, whose sweeper runs inside `cocu serve`")
    from cocu.platform import Platform  # noqa: PLC0415
    from cocu.workers.heartbeat import Heartbeat  # noqa: PLC0415
    from cocu.workers.sending import sending  # noqa: PLC0415
    from cocu.workers.sweeper import Sweeper  # noqa: PLC0415

    log_to_terminal()
    heartbeat = Heartbeat(settings.heartbeat("sweeper"))
    with (
        until_signalled() as wait,
        Platform.open(settings) as platform,
        sending(platform) as sender,
        ExitStack() as stack,
    ):
        if metrics_port is not None:
            stack.enter_context(serve_figures(metrics_host, metrics_port))
        running = Sweeper(
            platform,
            sender,
            on_look=lambda trouble: heartbeat.beat(None if trouble is None else str(trouble)),
        )
        running.start()
        console.print(f"sweeping every {settings.sweep_seconds:g} s")
        wait()
        running.stop()
    heartbeat.end()
