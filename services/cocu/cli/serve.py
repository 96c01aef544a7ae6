"""`cocu serve`: a whole platform in one process."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cocu.cli.options import Data, EncoderFolder
from cocu.cli.output import console, errors

if TYPE_CHECKING:
    from cocu.platform import Platform

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def serve(
    data: Data = None,
    encoder: EncoderFolder = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free port.")] = 8000,
) -> None:
    """Run the API and, if the broker is in memory, the workers in a thread of this process."""
    from cocu.cli.local import local_server  # noqa: PLC0415 - only commands that start a server import it

    with (
        stop_signal() as wait,
        local_server(encoder=encoder, data=data, host=host, port=port) as server,
    ):
        console.print(f"cocu on [bold]{server.url}[/], documentation on {server.url}/docs")
        for warning in _warnings(server.platform, host):
            errors.print(f"[yellow]{warning}[/]", soft_wrap=True)
        settings = server.platform.settings
        where = f"data and log in {settings.data_folder}" if settings.embedded else "workers run elsewhere"
        console.print(f"{where}; Ctrl-C stops it", soft_wrap=True)
        # What is imported stays. Without this the garbage collector looks at all of it again and again, and
        # nobody is answered meanwhile.
        gc.collect()
        gc.freeze()
        wait()
        console.print("stopping; unfinished work continues at the next start")


def _warnings(platform: Platform, host: str) -> Iterator[str]:
    """What the operator should know before others use the platform."""
    if host not in LOOPBACK:
        where = "every address of this machine" if host in ALL_ADDRESSES else host
        yield (
            f"it listens on {where} without authentication: everyone who reaches it can read, change and "
            "delete everything; put a proxy with authentication in front of it, or leave --host out"
        )
    # An inference server may start later; it is called only when it is needed.
    if "://" not in platform.settings.encoders_url and not platform.encoders.list():
        yield (
            "it has no encoder, so nothing can be curated or searched; give a bundle with --encoder, or make "
            "one with: cocu encoder export"
        )


@contextmanager
def stop_signal() -> Iterator[Callable[[], None]]:
    """A function that waits for SIGINT or SIGTERM; a signal since the start of the block counts."""
    stop = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    previous = {kind: signal.signal(kind, lambda *_: stop.set()) for kind in kinds}

    def wait() -> None:
        # With a timeout, because a wait without one cannot be interrupted on every system.
        while not stop.wait(timeout=1.0):
            pass

    try:
        yield wait
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
