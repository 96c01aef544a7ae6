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
from cocu.client.sources import survey

app = typer.Typer(help="Datasets: create, fill, look, delete.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the dataset.")]
Source = Annotated[
    Path,
    typer.Argument(
        exists=True,
        help="A tar, zip, Parquet, CSV or TSV file, a folder of them, of images, or of embeddings.",
    ),
]
Format = Annotated[UploadFormat | None, typer.Option(help="Instead of detecting it.")]
Captions = Annotated[
    Literal["first", "random", "all"], typer.Option(help="Which captions of an image with several.")
]
ShortSide = Annotated[
    int | None, typer.Option(min=16, max=8192, help="Make larger pictures this small, as JPEG.")
]
Column = Annotated[str | None, typer.Option(help="Of a table: its name, or number from 0 on.")]
Fetch = Annotated[bool, typer.Option("--fetch", help="Fetch images that are given by URL.")]
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
    path: Source,
    format: Format = None,
    captions: Captions = "first",
    short_side: ShortSide = None,
    key_column: Column = None,
    image_column: Column = None,
    url_column: Column = None,
    caption_column: Column = None,
    fetch: Fetch = False,
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


@app.command()
def add(
    path: Source,
    name: Annotated[str | None, typer.Option(help="Of the dataset; that of the path by default.")] = None,
    fetch: Fetch = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be taken.")] = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Put what a file or folder holds into a dataset, wait until it is read, and say what was taken.

    As `upload`, which has more options.
    """
    found = survey(path)
    taken = [(part.name, part.size) for part in found.parts]
    ignored = [str(file.relative_to(path)) for file in found.ignored]
    document: dict[str, object] = {"taken": [each for each, _ in taken], "ignored": ignored}
    if not json:
        console.print(table(None, ("upload", "bytes"), [(each, f"{size:,}") for each, size in taken]))
        for each in ignored:
            console.print(f"not taken: {each}", markup=False)
    if not dry_run:
        with CocuClient(server, api_key) as client:
            options = UploadOptions(fetch=fetch)
            made = workflow.upload(client, path, name=name or path.resolve().name, options=options)
            document |= {"dataset": workflow.read(client, made), "report": client.datasets.report(made.id)}
            if not json:
                for line in summary.counts(client.datasets.report(made.id)):
                    console.print(line)
                print(made.id)
    if json:
        print_json(document)


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
