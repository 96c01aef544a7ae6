"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SERVER = "http://127.0.0.1:8000"

Server = Annotated[
    str,
    typer.Option("--server", envvar="COCU_SERVER", metavar="URL", help="Address of the platform to talk to."),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="COCU_API_KEY", help="API key, if the platform requires one.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="COCU_DATA_FOLDER",
        file_okay=False,
        help="Folder for all data of the platform; .cocu by default.",
        show_default=False,
    ),
]
DemoData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        file_okay=False,
        help="Folder for the platform's data; by default a temporary one, deleted when the demo ends.",
        show_default=False,
    ),
]
EncoderFolder = Annotated[
    Path | None,
    typer.Option(
        "--encoder",
        exists=True,
        file_okay=False,
        help="Encoder bundle, or a folder of bundles.",
        show_default=False,
    ),
]
# Draws, as a batch stream makes them.
TextsPerSample = Annotated[int, typer.Option("--concepts", min=1, max=64, help="Texts per sample.")]
Temperature = Annotated[float, typer.Option(help="Low prefers the best concepts, high draws evenly.")]
Raw = Annotated[bool, typer.Option("--raw", help="Concepts without templates.")]
