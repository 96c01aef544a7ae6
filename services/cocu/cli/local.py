"""A platform in this process, for commands that need one: everything still goes through HTTP."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cocu.api.server import LocalServer, local_platform
from cocu.cli.failures import CommandFailedError
from cocu.client import CocuClient
from cocu.settings import Settings

Announce = Callable[[str], None]


@contextmanager
def local_client(
    *,
    encoder: Path | None,
    data: Path | None,
    host: str = "127.0.0.1",
    port: int = 0,
    announce: Announce = lambda text: None,
) -> Iterator[CocuClient]:
    """A client of a platform that runs in this process while the context lasts; port 0 takes a free one."""
    with local_server(encoder=encoder, data=data, host=host, port=port) as server:
        announce(f"platform on {server.url}, data in {server.platform.settings.data_folder}")
        with CocuClient(server.url) as client:
            yield client


@contextmanager
def local_server(
    *, encoder: Path | None, data: Path | None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[LocalServer]:
    """A platform with its workers in this process, answering HTTP while the context lasts."""
    given = {"data_folder": data, "encoders_url": encoder.resolve() if encoder is not None else None}
    settings = Settings.model_validate({name: value for name, value in given.items() if value is not None})
    # Where workers are processes of their own, this one is a service, whose log is what it prints.
    log_to(settings.data_folder / "cocu.log" if settings.embedded else None)
    with listen(host, port) as listening, local_platform(settings, listening) as server:
        yield server


def log_to(file: Path | None) -> None:
    """Send what the platform logs to a file, so that the terminal keeps what a command says; None: stderr."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=file,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s",
        force=True,
    )
    logging.captureWarnings(True)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to this address; raises CommandFailedError, saying what to do, where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise CommandFailedError(_why_not(error, host, port)) from error
    return listening


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; stop what listens there, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that this user lacks; choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
