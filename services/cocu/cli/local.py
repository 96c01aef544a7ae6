"""A platform in this process, for commands that need one: everything still goes through HTTP."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cocu.api.server import LocalServer
from cocu.cli.failures import CommandFailedError
from cocu.client import CocuClient
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.workers.embedded import EmbeddedWorkers

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
    with listen(host, port) as listening, Platform.open(settings) as platform, ExitStack() as stack:
        if settings.embedded:
            stack.enter_context(EmbeddedWorkers(platform))
        yield stack.enter_context(LocalServer(platform, listening))


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
