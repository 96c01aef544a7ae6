"""`cocu scenes …`: generated images with complete labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.failures import CommandFailedError
from cocu.cli.output import count as counted
from cocu.cli.output import errors

app = typer.Typer(help="Scenes: generated images with complete labels.", no_args_is_help=True)


@app.command()
def generate(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Folder to write to; created if missing.")],
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 1000,
    shards: Annotated[int, typer.Option(min=1, help="Number of tars.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same images.")] = 0,
) -> None:
    """Write scenes as WebDataset tars, with incomplete captions, complete labels and masks."""
    try:
        from cocu_scenes import write_scenes  # noqa: PLC0415 - only in a checkout
    except ModuleNotFoundError as error:
        raise CommandFailedError(
            "the generator of scenes is not part of the installed package; run this in a checkout of the "
            "project, installed with: pip install --editable ."
        ) from error
    try:
        written = write_scenes(folder, seed=seed, count=count, shards=shards)
    except ValueError as error:
        raise CommandFailedError(str(error)) from error
    errors.print(
        f"{counted(count, 'scene')} in {counted(len(written), 'shard')}, labels in {folder / 'labels.json'}"
    )
