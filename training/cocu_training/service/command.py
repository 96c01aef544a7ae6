"""`cocu-train serve` and `cocu-train key`: the service's part of the command line."""

from __future__ import annotations

import json
import logging
import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cocu_training.errors import ConfigurationError
from cocu_training.service.keys import create_key, read_keys, revoke_key
from cocu_training.service.settings import DEFAULT_TENANT, ServiceSettings

console = Console()
key_app = typer.Typer(help="API keys of the training service.", no_args_is_help=True)

Data = Annotated[
    Path, typer.Option(envvar="COCU_TRAINING_DATA", help="Folder of everything the service keeps.")
]
DATA = Path(".cocu-training")
KeysFile = Annotated[
    Path | None, typer.Option("--keys", envvar="COCU_TRAINING_KEYS", help="File of API keys.")
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of the service to the command line."""
    app.command()(serve)
    app.add_typer(key_app, name="key")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8100,
    data: Data = DATA,
    server: Annotated[str, typer.Option(envvar="COCU_SERVER", help="URL of the platform.")] = (
        "http://127.0.0.1:8000"
    ),
    api_key: Annotated[
        str | None, typer.Option(envvar="COCU_API_KEY", help="Key of the platform, of the tenant default.")
    ] = None,
    platform_keys: Annotated[
        str | None,
        typer.Option(
            envvar="COCU_TRAINING_PLATFORM_KEYS",
            help="Keys of the platform of other tenants: JSON by tenant.",
        ),
    ] = None,
    keys: KeysFile = None,
    files: Annotated[
        Path, typer.Option(envvar="COCU_TRAINING_FILES", help="Folder of tokenizers that runs may name.")
    ] = Path(),
    devices: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes of a run; default: a process for each GPU.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(envvar="COCU_TRAINING_COMMAND", help="What to start instead of torchrun.")
    ] = None,
    stop_seconds: Annotated[
        float, typer.Option(min=1.0, help="How long a run may take to stop before it is killed.")
    ] = 300.0,
    evaluate: Annotated[
        str | None, typer.Option(metavar="PROTOCOL=FOLDER", help="What every run is evaluated on.")
    ] = None,
    hosts: Annotated[
        str, typer.Option(envvar="COCU_HOSTS", help="Names the service answers to, beside localhost and IPs.")
    ] = "",
    leave_running: Annotated[
        bool, typer.Option("--leave-running", help="Let the run go on when the service ends.")
    ] = False,
) -> None:
    """Run the training service; once API keys exist, every request needs one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = ServiceSettings(
        data=data.absolute(),
        platform=server,
        platform_keys=_platform_keys(platform_keys, api_key),
        keys=keys,
        files=files,
        devices=devices,
        command=None if command is None else tuple(shlex.split(command)),
        stop_seconds=stop_seconds,
        leave_running=leave_running,
        hosts=tuple(hosts.replace(",", " ").split()),
        evaluate=evaluate,
    )
    # Torch, fastapi and uvicorn are imported only where a service is started.
    from cocu_training.service.server import training_service  # noqa: PLC0415

    with (
        _until_signalled() as wait,
        _listening(host, port) as listening,
        training_service(settings, listening) as url,
    ):
        console.print(f"training service on [bold]{url}[/] for the platform at {server}", soft_wrap=True)
        console.print(f"runs in {settings.data}; Ctrl-C stops it", soft_wrap=True)
        if not read_keys(settings.keys_file) and host not in {"127.0.0.1", "::1", "localhost"}:
            console.print(
                "there are no API keys: everybody who reaches this address may start runs", style="yellow"
            )
        wait()
        console.print("stopping; an unfinished run goes on with the next start")


@key_app.command("create")
def create(
    tenant: Annotated[str, typer.Option(help="Whose runs the key sees.")] = DEFAULT_TENANT,
    data: Data = DATA,
    keys: KeysFile = None,
) -> None:
    """Create an API key and print it, this one time."""
    file = ServiceSettings(data=data, keys=keys).keys_file
    with _explained():
        print(create_key(file, tenant=tenant))


@key_app.command("list")
def list_(data: Data = DATA, keys: KeysFile = None) -> None:
    """List the keys by id; their secret parts are not stored."""
    with _explained():
        for key in read_keys(ServiceSettings(data=data, keys=keys).keys_file):
            created = datetime.fromtimestamp(key.created_at, UTC).isoformat(timespec="seconds")
            console.print(f"{key.id}  {key.tenant}  {created}", highlight=False)


@key_app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key, as `key list` tells it.")],
    data: Data = DATA,
    keys: KeysFile = None,
) -> None:
    """Revoke a key; it is refused at once."""
    with _explained():
        revoke_key(ServiceSettings(data=data, keys=keys).keys_file, key)


def _platform_keys(text: str | None, default: str | None) -> dict[str, str]:
    try:
        keys = json.loads(text) if text else {}
    except ValueError as error:
        raise ConfigurationError("COCU_TRAINING_PLATFORM_KEYS is not JSON") from error
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise ConfigurationError("COCU_TRAINING_PLATFORM_KEYS must be a JSON object: tenant → key")
    return {**({DEFAULT_TENANT: default} if default else {}), **keys}


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {error}") from error


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise ConfigurationError(str(error)) from error


@contextmanager
def _until_signalled() -> Iterator[Callable[[], None]]:
    """Yield a function that returns after the first SIGINT or SIGTERM since the block began."""
    stop = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    old_handlers = {kind: signal.signal(kind, lambda *_: stop.set()) for kind in kinds}

    def wait() -> None:
        # With a timeout: on some systems a wait without one cannot be interrupted by signals.
        while not stop.wait(timeout=1.0):
            pass

    try:
        yield wait
    finally:
        for kind, handler in old_handlers.items():
            signal.signal(kind, handler)
