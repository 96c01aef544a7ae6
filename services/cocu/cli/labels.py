"""`cocu labels`: labels of samples that a dataset keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.cli.uploads import find_dataset
from cocu.client import CocuClient, read_labels
from cocu.schemas import CocoInstances, LabelSet

app = typer.Typer(
    help="Labels that a dataset keeps: archives are judged and measured by them.", no_args_is_help=True
)
Dataset = Annotated[str, typer.Argument(help="Id or name of the dataset.")]
Name = Annotated[str, typer.Argument(help="The name of the labels.")]


@app.command("add")
def add(
    *,
    dataset: Dataset,
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="COCO instances or a table key → labels, as JSON."),
    ],
    label_map: Annotated[
        str | None, typer.Option(help="Which concepts count as a label: a shipped map.", show_default=False)
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Keep labels under a name, in place of what has the name."""
    known = read_labels(file)
    with CocuClient(server, api_key) as client:
        chosen = find_dataset(client, dataset).id
        if isinstance(known, CocoInstances):
            labels = client.labels.put(chosen, name, instances=known, label_map=label_map)
        else:
            labels = client.labels.put(chosen, name, labels=known, label_map=label_map)
    if json:
        print_json(labels)
        return
    console.print(_described(labels), markup=False)
    for missing in labels.not_matched[:10]:
        console.print(f"  no sample, or several: {missing}", markup=False)


@app.command("list")
def list_(
    *, dataset: Dataset, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False
) -> None:
    """List the labels that a dataset keeps."""
    with CocuClient(server, api_key) as client:
        label_sets = list(client.labels.list(find_dataset(client, dataset).id))
    if json:
        print_json(label_sets)
        return
    rows = [
        (
            escape(labels.name),
            f"{labels.images:,}",
            f"{labels.matched:,}",
            f"{labels.classes:,}",
            escape(labels.label_map or "names"),
            f"{labels.created_at:%Y-%m-%d %H:%M}",
        )
        for labels in label_sets
    ]
    console.print(table(None, ("name", "images", "matched", "classes", "map", "kept (UTC)"), rows))


@app.command("remove")
def remove(*, dataset: Dataset, name: Name, server: Server = DEFAULT_SERVER, api_key: ApiKey = None) -> None:
    """Forget labels, and every verdict by them."""
    with CocuClient(server, api_key) as client:
        client.labels.delete(find_dataset(client, dataset).id, name)
    console.print(f"there are no labels {name} now", markup=False)


def _described(labels: LabelSet) -> str:
    rest = labels.without_sample + labels.ambiguous
    unmatched = f", {rest:,} matched none or several" if rest else ""
    return (
        f"{labels.name}: labels of {count(labels.images, 'image')}, {labels.matched:,} of them "
        f"samples{unmatched}; {labels.classes:,} classes"
    )
