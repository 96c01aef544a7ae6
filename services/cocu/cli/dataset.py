"""`cocu dataset …`: look at what was uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli import summary, workflow
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json, table
from cocu.client import CocuClient

app = typer.Typer(help="Datasets: create, fill, look, delete.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the dataset.")]


@app.command("list")
def list_(server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False) -> None:
    """List the datasets."""
    with CocuClient(server, api_key) as client:
        datasets = list(client.datasets.list())
    if json:
        print_json(datasets)
        return
    rows = [
        (each.id, each.name, f"{each.samples:,}", f"{each.created_at:%Y-%m-%d %H:%M}") for each in datasets
    ]
    console.print(table(None, ("id", "name", "samples", "created"), rows))


@app.command()
def create(name: str, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False) -> None:
    """Create an empty dataset and print its id."""
    with CocuClient(server, api_key) as client:
        made = client.datasets.create(name)
    print_json(made) if json else print(made.id)


@app.command()
def upload(
    name: Annotated[str, typer.Argument(help="Name of the dataset; made if there is none.")],
    path: Annotated[Path, typer.Argument(exists=True, help="A tar, a zip, a folder of them, or of images.")],
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Put files into a dataset and print its id."""
    with CocuClient(server, api_key) as client:
        dataset = workflow.upload(client, path, name=name)
    print_json(dataset) if json else print(dataset.id)


@app.command()
def report(dataset: Id, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False) -> None:
    """Say what became of the samples: accepted, skipped and why."""
    with CocuClient(server, api_key) as client:
        found = client.datasets.report(dataset)
    if json:
        print_json(found)
        return
    for line in summary.counts(found):
        console.print(line)
    if not found.complete:
        console.print("uploads are still being read; the counts grow")


@app.command()
def rejections(
    dataset: Id,
    reason: Annotated[str | None, typer.Option(help="Only those skipped for this reason.")] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List every sample that was skipped."""
    with CocuClient(server, api_key) as client:
        found = client.datasets.rejections(dataset, reason=reason)
        if json:
            print_json(found)
            return
        for each in found:
            console.print(
                f"{each.upload}  {each.member or each.key or ''}  {each.reason}: {each.detail}", markup=False
            )


@app.command()
def delete(dataset: Id, server: Server = DEFAULT_SERVER, api_key: ApiKey = None) -> None:
    """Delete a dataset with all that was made of it."""
    with CocuClient(server, api_key) as client:
        client.datasets.delete(dataset)
