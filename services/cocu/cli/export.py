"""`cocu export`: a curation as files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.markup import escape

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, stage_bars
from cocu.client import CocuClient
from cocu.schemas import ExportFormat


def export(
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    folder: Annotated[
        Path, typer.Argument(file_okay=False, help="Folder for the files; created if missing.")
    ],
    format: Annotated[
        ExportFormat, typer.Option("--format", "-f", help=f"One of {', '.join(get_args(ExportFormat))}.")
    ] = "webdataset",
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="With the images, if the format can contain them.")
    ] = True,
    max_concepts: Annotated[
        int | None, typer.Option(min=1, help="At most so many concepts per sample.")
    ] = None,
    clusters: Annotated[
        bool, typer.Option("--clusters", help="Of `released`: name the clusters in the third line.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Write a completed curation to a folder. After an interruption, the same command fetches the rest."""
    with CocuClient(server, api_key) as client, stage_bars() as bar:
        task = bar.add_task("export", total=None)
        manifest = client.curations.export(
            curation,
            folder,
            format,
            images=images,
            max_concepts=max_concepts,
            clusters=clusters,
            progress=lambda done, total, _: bar.update(task, completed=done, total=total),
        )
    if json:
        print_json(manifest)
        return
    files, samples = count(len(manifest.files), "file"), count(manifest.samples, "sample")
    console.print(f"{samples} in {files} under {escape(str(folder))}")
