"""`cocu dataset …`: look at what was uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cocu.cli import summary, workflow
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json, table
from cocu.client import CocuClient
from cocu.client.models import UploadFormat, UploadOptions

app = typer.Typer(help="Datasets: create, fill, look, delete.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the dataset.")]
Encoder = Annotated[
    str | None,
    typer.Option(help="The data are embeddings (clip-retrieval's img_emb, metadata) that this encoder made."),
]


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
    path: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="A tar, zip, Parquet, CSV or TSV file, a folder of them, of images, or of embeddings.",
        ),
    ],
    format: Annotated[UploadFormat | None, typer.Option(help="Instead of detecting it.")] = None,
    captions: Annotated[
        Literal["first", "random", "all"], typer.Option(help="Which captions of an image with several.")
    ] = "first",
    short_side: Annotated[
        int | None, typer.Option(min=16, max=8192, help="Make larger pictures this small, as JPEG.")
    ] = None,
    key_column: Annotated[str | None, typer.Option(help="Of a table: name, or number from 0 on.")] = None,
    image_column: Annotated[str | None, typer.Option(help="Likewise, of Parquet.")] = None,
    url_column: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch images that are given by URL.")] = False,
    encoder: Encoder = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Put files into a dataset and print its id."""
    options = UploadOptions(
        format=format,
        captions=captions,
        short_side=short_side,
        key_column=key_column,
        image_column=image_column,
        url_column=url_column,
        caption_column=caption_column,
        fetch=fetch,
        encoder=encoder,
    )
    with CocuClient(server, api_key) as client:
        dataset = workflow.upload(client, path, name=name, options=options)
    print_json(dataset) if json else print(dataset.id)


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="Name of the dataset; made if there is none.")],
    urls: Annotated[
        list[str], typer.Argument(help="http(s) URLs of files that `upload` would take, or one s3:// prefix.")
    ],
    encoder: Encoder = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Let the platform fetch files into a dataset; waits until they are read, and prints the dataset's id."""
    with CocuClient(server, api_key) as client:
        dataset = workflow.dataset_named(client, name)
        s3 = urls[0] if len(urls) == 1 and urls[0].startswith("s3://") else None
        options = UploadOptions(encoder=encoder)
        client.datasets.fetch(dataset.id, *(() if s3 else urls), s3=s3, options=options)
        dataset = workflow.read(client, dataset)
    print_json(dataset) if json else print(dataset.id)


@app.command()
def retry(dataset: Id, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False) -> None:
    """Try once more what failed and may succeed; nothing that was accepted is touched."""
    with CocuClient(server, api_key) as client:
        retried = client.datasets.retry(dataset)
    if json:
        print_json(retried)
        return
    console.print(
        f"{len(retried.uploads):,} uploads are read again, {retried.rows:,} rows fetched again, "
        f"{retried.samples:,} samples embedded again"
    )
    for name in retried.unsent:
        console.print(f"{name} did not arrive; send it again", markup=False)


@app.command()
def report(
    dataset: Id,
    csv: Annotated[
        Path | None, typer.Option(help="Write every sample that was not accepted to this file.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Say what became of the samples: accepted, skipped and why."""
    with CocuClient(server, api_key) as client:
        found = client.datasets.report(dataset)
        if csv is not None:
            with csv.open("wb") as target:
                target.writelines(client.datasets.report_csv(dataset))
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
