"""`cocu-train`: train on a curation, and evaluate what came out, without the service.

cocu-train run --curation cur_… --preset scenes --arm cluster --output runs/cluster
torchrun --nproc-per-node 4 -m cocu_training.command_line run …
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

from cocu.client import ClientError
from cocu_training.configuration import ArmName, TrainingConfiguration, preset
from cocu_training.errors import ConfigurationError, TrainingError
from cocu_training.loop.running import Run, train

STOPPED = 75
"""The exit status of a run that was told to stop before its end: start it again with --resume."""

app = typer.Typer(
    help="Train GroupViT on curated batches, and evaluate it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Train GroupViT on curated batches, and evaluate it."""


@app.command()
def run(
    *,
    curation: Annotated[str, typer.Option(help="Id of the curation.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoints and records.")],
    server: Annotated[str, typer.Option(envvar="COCU_SERVER", help="URL of the platform.")] = (
        "http://127.0.0.1:8000"
    ),
    api_key: Annotated[str | None, typer.Option(envvar="COCU_API_KEY", help="Key of the platform.")] = None,
    configuration: Annotated[Path | None, typer.Option(help="JSON file; instead of a preset.")] = None,
    preset_name: Annotated[str, typer.Option("--preset", help="small, scenes or tiny.")] = "small",
    arm: Annotated[str | None, typer.Option(help=", ".join(get_args(ArmName)) + ".")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="name=value of any field; values as JSON. Repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train; exit status 75 when it was told to stop before its end."""
    chosen = preset(preset_name) if configuration is None else TrainingConfiguration.from_file(configuration)
    changes = [*(settings or []), *([f"arm={arm}"] if arm else [])]
    outcome = train(
        Run(
            configuration=changed(chosen, changes),
            server=server,
            curation=curation,
            folder=output,
            api_key=api_key,
            resume=resume,
            device=device,
        )
    )
    if not outcome.finished:
        raise typer.Exit(STOPPED)


def changed(configuration: TrainingConfiguration, changes: list[str]) -> TrainingConfiguration:
    """A configuration with `name=value` applied. Raises ConfigurationError."""
    values: dict[str, Any] = json.loads(configuration.to_json())
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise ConfigurationError(f"settings are given as name=value, not {change!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            # What is no JSON is a string as it stands.
            values[name] = value
    return TrainingConfiguration.from_mapping(values)


def main() -> None:
    """Run the command line; errors of ours are a line, not a traceback."""
    try:
        app()
    except (TrainingError, ClientError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
