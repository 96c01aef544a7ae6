"""`cocu scenes …`: pictures with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.failures import CommandFailedError
from cocu.cli.output import count as counted
from cocu.cli.output import errors

app = typer.Typer(help="Scenes: generated pictures whose truth is known.", no_args_is_help=True)


@app.command()
def generate(
    folder: Annotated[
        Path, typer.Argument(file_okay=False, help="Folder to write to; made if there is none.")
    ],
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 1000,
    shards: Annotated[int, typer.Option(min=1, help="How many tars they are spread over.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same pictures.")] = 0,
) -> None:
    """Write scenes as WebDataset tars, with captions that name a part of what is there, labels and masks."""
    from cocu.datasets.scenes import write_scenes  # noqa: PLC0415 - imported only where it is needed

    try:
        written = write_scenes(folder, seed=seed, count=count, shards=shards)
    except ValueError as error:
        raise CommandFailedError(str(error)) from error
    errors.print(
        f"{counted(count, 'scene')} in {counted(len(written), 'shard')}, labels in {folder / 'labels.json'}"
    )
