"""`cocu evaluate`: measure a curation against labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli import summary, workflow
from cocu.cli.failures import CommandFailedError
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json
from cocu.client import CocuClient, read_labels


def evaluate(
    *,
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    labels: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="COCO instances or a table key → labels, as JSON.",
            show_default=False,
        ),
    ] = None,
    kept: Annotated[
        str | None,
        typer.Option(help="Labels that the dataset keeps, by name, in place of a file.", show_default=False),
    ] = None,
    label_map: Annotated[
        str | None, typer.Option(help="Which concepts count as a label: a shipped map.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Measure archives, and the captions alone, against human labels."""
    if (labels is None) == (kept is None):
        raise CommandFailedError("name a file of labels or, with --kept, labels that the dataset keeps")
    known = None if labels is None else read_labels(labels)
    with CocuClient(server, api_key) as client:
        if known is None:
            result = client.evaluations.create(curation, kept=kept, label_map=label_map)
        else:
            result = workflow.evaluate(client, curation, known, label_map)
    if json:
        print_json(result)
    else:
        console.print(summary.metrics(result))
        for line in summary.not_matched(result):
            console.print(line)
