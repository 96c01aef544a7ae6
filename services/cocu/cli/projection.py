"""`cocu projection …`: maps of the images of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.cli.uploads import find_dataset
from cocu.client import CocuClient
from cocu.schemas import Projection, ProjectionMethod

app = typer.Typer(help="Projections: maps of the images of a dataset.", no_args_is_help=True)
DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Id or name of the dataset.")]
Id = Annotated[str, typer.Argument(metavar="PROJECTION", help="Id of the projection.")]


@app.command()
def create(
    *,
    dataset: DatasetArgument,
    method: Annotated[
        ProjectionMethod | None,
        typer.Option(
            help="umap keeps neighbours together; pca takes seconds, and separates less. By default the best "
            "that the platform has.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Whose embeddings are shown, by id or name.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same map.")] = 0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is completed.")] = True,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Make a map of a dataset as it is now; print its id. The same command again gives the same one."""
    with CocuClient(server, api_key) as client:
        chosen = find_dataset(client, dataset).id
        projection = client.projections.create(chosen, encoder=encoder, method=method, seed=seed)
        if wait:
            projection = client.projections.wait(chosen, projection.id)
    if json:
        print_json(projection)
        return
    print(projection.id)
    console.print(f"{projection.state}: {_samples(projection)}", markup=False, highlight=False)


@app.command("list")
def list_(
    dataset: DatasetArgument, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False
) -> None:
    """List the projections of a dataset, newest first."""
    with CocuClient(server, api_key) as client:
        projections = list(client.projections.list(find_dataset(client, dataset).id))
    if json:
        print_json(projections)
        return
    rows = [
        (
            projection.id,
            projection.state,
            projection.method,
            escape(projection.encoder),
            projection.seed,
            f"{projection.samples:,}",
            f"{projection.created_at:%Y-%m-%d %H:%M}",
        )
        for projection in projections
    ]
    console.print(table(None, ("id", "state", "method", "encoder", "seed", "samples", "created"), rows))


@app.command()
def show(
    *,
    dataset: DatasetArgument,
    projection: Id,
    curation: Annotated[
        str | None,
        typer.Option(help="The curation whose concepts label the regions.", show_default=False),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write a picture of its density here, PNG.", show_default=False),
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show the regions of a projection, with the concepts that tell each from the others."""
    with CocuClient(server, api_key) as client:
        chosen = find_dataset(client, dataset).id
        shown = client.projections.get(chosen, projection, curation=curation)
        if image is not None:
            image.write_bytes(client.projections.image(chosen, projection))
    if json:
        print_json(shown)
        return
    console.print(Text(f"{shown.method} of {_samples(shown)}: {shown.state}", style="bold"))
    if shown.error is not None:
        console.print(shown.error, markup=False)
    rows = [
        (region.region, f"{region.pictures:,}", escape(" · ".join(region.label)), region.x, region.y)
        for region in shown.regions
    ]
    console.print(table(None, ("region", "pictures", "label", "x", "y"), rows))


def _samples(projection: Projection) -> str:
    without = f", {projection.without_place:,} without a place" if projection.without_place else ""
    return f"{count(projection.samples, 'sample')}{without}"
