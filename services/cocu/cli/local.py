"""A platform in this process, for commands that need one; all calls still go through HTTP."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cocu import machine
from cocu.api.server import LocalServer, local_platform
from cocu.cli.failures import CommandFailedError
from cocu.cli.log_file import LogFile
from cocu.client import CocuClient
from cocu.errors import NoRoomError
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage.permissions import make_private_file

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
    """A client of a platform that runs in this process inside the context; port 0 uses a free port."""
    with local_server(encoder=encoder, data=data, host=host, port=port) as server:
        announce(f"platform on {server.url}, data in {server.platform.settings.data_folder}")
        with CocuClient(server.url) as client, fail_on_full_disk(server.platform):
            yield client


@contextmanager
def fail_on_full_disk(platform: Platform) -> Iterator[None]:
    """Raise CommandFailedError in the block, wherever it waits, when a disk of the platform is full.

    A server waits until there is space again; a command must tell its user. Works only in the main thread.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main:
        yield
        return
    full: list[NoRoomError] = []

    def interrupt(error: NoRoomError) -> None:
        # Called in a worker's thread. A signal is the only way to interrupt the main thread while it waits
        # in a system call; its handler then raises there.
        full.append(error)
        if len(full) == 1:
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)

    def fail(*_: object) -> None:
        path = full[0].location or platform.settings.data_folder
        raise CommandFailedError(
            f"no space left on the disk ({path}); free some and run the same command again, "
            "it goes on where it was"
        )

    previous = signal.signal(signal.SIGUSR1, fail)
    platform.disk_space.listen(interrupt)
    try:
        yield
    finally:
        platform.disk_space.listen(None)
        signal.signal(signal.SIGUSR1, previous)


@contextmanager
def local_server(
    *, encoder: Path | None, data: Path | None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[LocalServer]:
    """A platform with its workers in this process; it answers HTTP inside the context."""
    options = {"data_folder": data, "encoders_url": encoder.resolve() if encoder is not None else None}
    settings = Settings.read(**{name: value for name, value in options.items() if value is not None})
    # With workers in other processes this process is a service, and a service logs to standard error.
    log_to(settings.data_folder / "cocu.log" if settings.embedded else None)
    with listen(host, port) as listening, local_platform(settings, listening) as server:
        yield server


def log_to(file: Path | None) -> None:
    """Log to a file, so that the terminal shows only the output of the command; None: to standard error."""
    if file is not None:
        with machine.translate_errors(f"make the folder {file.parent}"):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_private_file(file)
    logging.basicConfig(
        handlers=None if file is None else [LogFile(file)],
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s",
        force=True,
    )
    logging.captureWarnings(True)
    # Its lines of every request are the dashboard asking the API beside it.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to this address; raises CommandFailedError where this is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise CommandFailedError(_bind_problem(error, host, port)) from error
    return listening


def available_port(port: int, host: str = "127.0.0.1") -> int:
    """The port if nothing listens on it, else 0, which stands for any free port."""
    try:
        listen(host, port).close()
    except CommandFailedError:
        return 0
    return port


def _bind_problem(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; stop what listens there, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that this user lacks; choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
