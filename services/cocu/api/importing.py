"""From a request to uploads that are fetched: which files, and what each is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from cocu.api import views
from cocu.client import models
from cocu.client.sources import upload_name
from cocu.datasets.embeddings import table_of
from cocu.datasets.fetching import FetchRefusedError
from cocu.errors import InvalidInputError
from cocu.platform import Platform
from cocu.storage import buckets
from cocu.storage.catalog import datasets, imports
from cocu.storage.catalog.imports import Source
from cocu.storage.catalog.uploads import UploadRecord

MOST_FILES = 1_000
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip")


def announce(
    platform: Platform, *, tenant: str, dataset: str, request: models.ImportCreate
) -> list[UploadRecord]:
    """Uploads for the files that a request names, and the work of fetching them.

    Raises InvalidInputError for URLs that never would be fetched, and the errors of `imports.announce` and
    `buckets.list_files`.
    """
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    urls = _urls(platform, request)
    if request.options.encoder is not None:
        urls = _embeddings(urls, complete=request.s3 is not None)
    names = [request.name] if request.name is not None else _names(urls)
    records, planned = imports.announce(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        sources=[Source(name=name, url=url) for name, url in zip(names, urls, strict=True)],
        options=views.read_options(request.options, platform.encoders).to_json(),
    )
    platform.enqueue(planned)
    return records


def _urls(platform: Platform, request: models.ImportCreate) -> list[str]:
    if request.s3 is not None:
        return buckets.list_files(request.s3, allowed=platform.settings.import_buckets, most=MOST_FILES)
    given = {"body.url": request.url} if request.url is not None else {}
    given |= {f"body.urls.{number}": url for number, url in enumerate(request.urls or ())}
    fetcher = platform.fetcher(max_bytes=platform.settings.max_upload_bytes)
    refused: dict[str, str] = {}
    for field, url in given.items():
        try:
            fetcher.check(url)
        except FetchRefusedError as error:
            refused[field] = str(error)
    if refused:
        raise InvalidInputError("URLs are not fetched.", refused)
    return list(dict.fromkeys(given.values()))


def _embeddings(urls: Sequence[str], *, complete: bool) -> list[str]:
    """What each upload of embeddings is fetched from: img_emb/*.npy, of which the metadata's place follows.

    complete: the metadata are among the URLs if they exist. Archives stay as they are. Raises
    InvalidInputError for embeddings without metadata, or the reverse.
    """
    tables = {url: table_of(url) for url in urls}
    wanted = {table for table in tables.values() if table is not None}
    metadata = {url for url in urls if "/metadata/" in url and url.endswith(".parquet")}
    alone = sorted(wanted ^ metadata if complete else metadata - wanted)
    if alone:
        raise InvalidInputError(
            f"For every img_emb/*.npy there must be the metadata/*.parquet of its number, and the reverse; "
            f"of {alone[0]} and the embeddings that belong to it one is missing."
        )
    chosen = [url for url, table in tables.items() if table is not None or url.endswith(_ARCHIVES)]
    chosen = chosen if complete else [url for url in urls if url not in wanted]
    if not chosen:
        raise InvalidInputError("There is no img_emb/*.npy, and no archive of them.")
    return chosen


def _names(urls: Sequence[str]) -> list[str]:
    """A name for each: the last part of its URL, with a number where an earlier one has it."""
    names: list[str] = []
    for url in urls:
        path = PurePosixPath(unquote(urlsplit(url).path, errors="replace"))
        # Embeddings are packed with their metadata.
        packed = path.with_suffix(".tar") if table_of(url) is not None else path
        name = upload_name(packed.name or "import")
        candidate, number = name, 1
        while candidate in names:
            number += 1
            stem, dot, ending = name.partition(".")
            candidate = f"{stem[:150]}-{number}{dot}{ending[:40]}"
        names.append(candidate)
    return names
