"""`cocu serve`: a whole platform in one process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cocu.cli.options import Data, EncoderFolder
from cocu.cli.output import console


def serve(
    data: Data = None,
    encoder: EncoderFolder = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
) -> None:
    """Run the API, and with a broker in memory the workers too, in a thread of this process."""
    from cocu.cli.local import local_server  # noqa: PLC0415 - the server is imported only where one is started

    with (
        until_signalled() as wait,
        local_server(encoder=encoder, data=data, host=host, port=port) as server,
    ):
        console.print(f"cocu on [bold]{server.url}[/], documentation on {server.url}/docs")
        settings = server.platform.settings
        kept = f"data and log in {settings.data_folder}" if settings.embedded else "workers are elsewhere"
        console.print(f"{kept}; Ctrl-C stops it", soft_wrap=True)
        wait()
        console.print("stopping; work that is not done goes on with the next start")


@contextmanager
def until_signalled() -> Iterator[Callable[[], None]]:
    """A function that returns at the first SIGINT or SIGTERM since the block was entered."""
    stop = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *_: stop.set()) for kind in kinds}

    def wait() -> None:
        # A wait with a timeout, because one without cannot be interrupted on every system.
        while not stop.wait(timeout=1.0):
            pass

    try:
        yield wait
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
