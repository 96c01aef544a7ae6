"""`cocu dashboard`: the web pages of a platform that runs elsewhere."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from cocu.cli.options import ApiKey
from cocu.cli.output import console
from cocu.cli.serve import stop_signal

HEAD_SECONDS = 30.0
IDLE_SECONDS = 120.0
MAX_CONNECTIONS = 1024


def dashboard(
    platform: Annotated[str, typer.Option(help="URL of the platform.", envvar="COCU_SERVER")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free port.")] = 8080,
    hosts: Annotated[
        str, typer.Option(help="Names it answers to beside localhost and addresses.", envvar="COCU_HOSTS")
    ] = "",
    api_key: ApiKey = None,
    training: Annotated[
        str | None,
        typer.Option(metavar="URL", help="URL of a training service to show.", envvar="COCU_TRAINING"),
    ] = None,
    training_key: Annotated[
        str | None,
        typer.Option(
            help="API key of the training service, if it requires one.",
            envvar="COCU_TRAINING_API_KEY",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the dashboard of a platform as a service of its own; any number of them may run."""
    # Only commands that start a server import it.
    from cocu.cli.local import listen, log_to  # noqa: PLC0415
    from cocu.client import CocuClient  # noqa: PLC0415
    from cocu.dashboard import DashboardOptions, create_dashboard  # noqa: PLC0415
    from cocu.http.server import HttpServer  # noqa: PLC0415

    log_to(None)
    names = tuple(name.strip() for name in hosts.split(",") if name.strip())
    app = create_dashboard(
        lambda: CocuClient(platform, api_key, retries=0, timeout=30.0),
        DashboardOptions(
            documentation=None,
            platform=platform,
            hosts=names,
            training=training or None,
            training_key=training_key,
        ),
    )
    with stop_signal() as wait, listen(host, port) as listening:
        server = HttpServer(
            app,
            listening,
            stopping=threading.Event(),
            head_seconds=HEAD_SECONDS,
            idle_seconds=IDLE_SECONDS,
            max_connections=MAX_CONNECTIONS,
        )
        with server:
            console.print(
                f"the dashboard of {platform} on [bold]{server.url}[/]; Ctrl-C stops it", soft_wrap=True
            )
            wait()
