"""`cocu evaluate`: a curation against labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli import summary, workflow
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json
from cocu.client import CocuClient, read_labels


def evaluate(
    *,
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    labels: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="COCO instances or a table key → labels, as JSON."),
    ],
    label_map: Annotated[
        str | None, typer.Option(help="Which concepts count as a label: a shipped map.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Measure archives against human labels, beside the captions alone."""
    known = read_labels(labels)
    with CocuClient(server, api_key) as client:
        result = workflow.evaluate(client, curation, known, label_map)
    if json:
        print_json(result)
    else:
        console.print(summary.metrics(result))
