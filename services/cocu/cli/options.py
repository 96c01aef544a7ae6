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
        "--api-key", envvar="COCU_API_KEY", help="API key, where the platform wants one.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="COCU_DATA_FOLDER",
        file_okay=False,
        help="Folder that holds everything the platform keeps; .cocu by default.",
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
