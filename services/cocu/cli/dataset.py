"""`cocu dataset …`: upload files, and see what was accepted.

Exit status of `add` and `import` (and of `upload --wait`): 0 when every file was read, even if single samples
were skipped; 1 when nothing could be used; 3 when only some of the files could be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from cocu.cli import summary, uploads
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, errors, print_json, table
from cocu.cli.uploads import find_dataset
from cocu.client import CocuClient
from cocu.client.datasets import require_encoder_name
from cocu.client.sources import survey
from cocu.schemas import SampleOrder, UploadFormat, UploadOptions

app = typer.Typer(help="Datasets: create, fill, inspect, delete.", no_args_is_help=True)

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Id or name of the dataset.")]
Source = Annotated[
    Path,
    typer.Argument(
        exists=True,
        help="A tar, zip, Parquet, CSV or TSV file, a folder of them, of images, or of embeddings.",
    ),
]
Format = Annotated[UploadFormat | None, typer.Option(help="Format of the files, instead of detection.")]
Captions = Annotated[
    Literal["first", "random", "all"], typer.Option(help="Which captions to use of an image with several.")
]
ShortSide = Annotated[
    int | None, typer.Option(min=16, max=8192, help="Reduce larger images to this size, as JPEG.")
]
Column = Annotated[str | None, typer.Option(help="Column of a table: its name, or its number from 0.")]
Fetch = Annotated[bool, typer.Option("--fetch", help="Fetch images given by URL.")]
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
        (dataset.id, dataset.name, f"{dataset.samples:,}", f"{dataset.created_at:%Y-%m-%d %H:%M}")
        for dataset in datasets
    ]
    console.print(table(None, ("id", "name", "samples", "created"), rows))


@app.command()
def create(name: str, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False) -> None:
    """Create an empty dataset and print its id."""
    with CocuClient(server, api_key) as client:
        dataset = client.datasets.create(name)
    print_json(dataset) if json else print(dataset.id)


@app.command()
def upload(
    name: Annotated[str, typer.Argument(help="Name of the dataset; created if it does not exist.")],
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
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the files are read, as `add` does.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Upload files into a dataset and print its id; the platform reads them afterwards."""
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
        target, sent = uploads.send(client, path, name=name, options=options)
        print_json(target.dataset) if json else print(target.dataset.id)
        if wait:
            intake = uploads.wait_until_read(client, target, sent)
            uploads.print_intake(intake, to=errors)
            uploads.require_samples(client, target, intake, path)


@app.command()
def add(
    path: Source,
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset; by default the name of the path.")
    ] = None,
    fetch: Fetch = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the files that would be uploaded.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Upload a file or the content of a folder, wait until it is read, and show what was accepted.

    Like `upload`, which has more options. Exit status 1: nothing could be used; 3: some files could not be.
    """
    options = UploadOptions(fetch=fetch)
    files = survey(path)
    taken = [(part.name, part.size) for part in files.parts]
    ignored = [str(file.relative_to(path)) for file in files.ignored]
    document: dict[str, object] = {"taken": [upload for upload, _ in taken], "ignored": ignored}
    if not json:
        console.print(table(None, ("upload", "bytes"), [(upload, f"{size:,}") for upload, size in taken]))
        for file in ignored:
            console.print(f"not taken: {file}", markup=False)
    if dry_run:
        if json:
            print_json(document)
        return
    require_encoder_name(path, files.parts, options)
    with CocuClient(server, api_key) as client:
        target, sent = uploads.send(
            client, path, name=name or path.resolve().name, options=options, parts=files.parts
        )
        intake = uploads.wait_until_read(client, target, sent)
        uploads.print_intake(intake, to=errors if json else console)
        if json:
            print_json(document | {"dataset": intake.dataset, "report": intake.report})
        elif intake.accepted:
            for line in summary.counts(intake.report):
                console.print(line)
            print(intake.dataset.id)
        uploads.require_samples(client, target, intake, path)


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="Name of the dataset; created if it does not exist.")],
    urls: Annotated[
        list[str], typer.Argument(help="http(s) URLs of files that `upload` would take, or one s3:// prefix.")
    ],
    encoder: Encoder = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Let the platform fetch files into a dataset, wait until they are read, and print the dataset's id.

    Exit status 1: nothing could be used; 3: some files could not be fetched or read.
    """
    with CocuClient(server, api_key) as client:
        target = uploads.find_or_create(client, name)
        s3 = urls[0] if len(urls) == 1 and urls[0].startswith("s3://") else None
        options = UploadOptions(encoder=encoder)
        with uploads.delete_if_refused(client, target):
            fetched = client.datasets.fetch(target.dataset.id, *(() if s3 else urls), s3=s3, options=options)
        intake = uploads.wait_until_read(client, target, {upload.name for upload in fetched.uploads})
        uploads.print_intake(intake, to=errors)
        if not json:
            for line in summary.counts(intake.report):
                errors.print(line)
        print_json(intake.dataset) if json else print(intake.dataset.id)
        uploads.require_samples(client, target, intake, " ".join(urls))


@app.command()
def retry(
    dataset: DatasetArgument, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False
) -> None:
    """Retry what failed and may succeed now; accepted samples are not changed."""
    with CocuClient(server, api_key) as client:
        retries = client.datasets.retry(find_dataset(client, dataset).id)
    if json:
        print_json(retries)
        return
    console.print(
        f"{count(len(retries.uploads), 'upload')} read again, {count(retries.rows, 'row')} fetched again, "
        f"{count(retries.samples, 'sample')} embedded again"
    )
    for name in retries.unsent:
        console.print(f"{name} did not arrive; send it again", markup=False)


@app.command()
def report(
    dataset: DatasetArgument,
    csv: Annotated[
        Path | None, typer.Option(help="Write every sample that was not accepted to this file.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show how many samples were accepted or skipped, and why."""
    with CocuClient(server, api_key) as client:
        dataset_id = find_dataset(client, dataset).id
        document = client.datasets.report(dataset_id)
        if csv is not None:
            with csv.open("wb") as target:
                target.writelines(client.datasets.report_csv(dataset_id))
        unread = list(uploads.failures(client, dataset_id)) if document.uploads_failed else []
    if json:
        print_json(document)
        return
    for line in summary.counts(document):
        console.print(line)
    for line in unread:
        console.print(f"not read: {line}", markup=False, soft_wrap=True)
    if not document.complete:
        awaited = ", ".join(document.awaited)
        console.print(f"still arriving or being read, the counts grow: {awaited}", markup=False)


@app.command()
def rejections(
    dataset: DatasetArgument,
    reason: Annotated[str | None, typer.Option(help="Only those skipped for this reason.")] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List every sample that was skipped."""
    with CocuClient(server, api_key) as client:
        rows = client.datasets.rejections(find_dataset(client, dataset).id, reason=reason)
        if json:
            print_json(rows)
            return
        for row in rows:
            console.print(
                f"{row.upload}  {row.member or row.key or ''}  {row.reason}: {row.detail}",
                markup=False,
                soft_wrap=True,
            )


@app.command()
def samples(
    dataset: DatasetArgument,
    caption: Annotated[
        str | None, typer.Option(help="Only samples whose captions have all of these words.")
    ] = None,
    order: Annotated[
        SampleOrder | None, typer.Option(help="By key, or by row; by row where words are looked for.")
    ] = None,
    row: Annotated[int | None, typer.Option(min=0, help="The row to begin with, counted from 0.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of samples.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List samples with their captions."""
    with CocuClient(server, api_key) as client:
        dataset_id = find_dataset(client, dataset).id
        listed = client.datasets.samples(dataset_id, caption=caption, order=order, row=row, limit=limit)
        if json:
            print_json(listed)
            return
        rows = [
            (str(sample.global_row), escape(sample.key), escape(" ".join(sample.caption.split())))
            for sample in listed
        ]
    console.print(table(None, ("row", "key", "caption"), rows))


@app.command()
def delete(dataset: DatasetArgument, server: Server = DEFAULT_SERVER, api_key: ApiKey = None) -> None:
    """Delete a dataset and everything derived from it."""
    with CocuClient(server, api_key) as client:
        client.datasets.delete(find_dataset(client, dataset).id)
