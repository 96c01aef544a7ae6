"""Requests for imports: which files are fetched, and the names of their uploads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from cocu import schemas
from cocu.api import serializers
from cocu.catalog import datasets
from cocu.catalog.uploads import UploadRecord
from cocu.client.sources import upload_name
from cocu.errors import InvalidInputError
from cocu.formats.embeddings import table_of
from cocu.formats.http_fetch import FetchRefusedError
from cocu.pipeline import submit_uploads
from cocu.pipeline.submit_uploads import Source
from cocu.platform import Platform
from cocu.storage import buckets

MAX_FILES = 1_000
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip")


def announce(
    platform: Platform, *, tenant: str, dataset: str, request: schemas.ImportCreate
) -> list[UploadRecord]:
    """Register an upload for every file that a request names, and enqueue the tasks that fetch them.

    Raises InvalidInputError for URLs that are not allowed, and the errors of
    `submit_uploads.import_files` and `buckets.list_files`.
    """
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    urls = _urls(platform, request)
    if request.options.encoder is not None:
        urls = _embeddings(urls, complete=request.s3 is not None)
    names = [request.name] if request.name is not None else _names(urls)
    records, task_refs = submit_uploads.import_files(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        files=[Source(name=name, url=url) for name, url in zip(names, urls, strict=True)],
        options=serializers.read_options(request.options, platform.encoders).to_json(),
    )
    platform.enqueue(task_refs)
    return records


def _urls(platform: Platform, request: schemas.ImportCreate) -> list[str]:
    if request.s3 is not None:
        return buckets.list_files(request.s3, allowed=platform.settings.import_buckets, limit=MAX_FILES)
    requested = {"body.url": request.url} if request.url is not None else {}
    requested |= {f"body.urls.{index}": url for index, url in enumerate(request.urls or ())}
    fetcher = platform.fetcher(max_bytes=platform.settings.max_upload_bytes)
    refused: dict[str, str] = {}
    for field, url in requested.items():
        try:
            fetcher.check(url)
        except FetchRefusedError as error:
            refused[field] = str(error)
    if refused:
        raise InvalidInputError("URLs are not fetched.", refused)
    return list(dict.fromkeys(requested.values()))


def _embeddings(urls: Sequence[str], *, complete: bool) -> list[str]:
    """Return the URLs of uploads of embeddings: img_emb/*.npy, from which the URL of the metadata follows.

    complete: whether the metadata are among the URLs if they exist. URLs of archives stay as they are. Raises
    InvalidInputError for embeddings without metadata, or metadata without embeddings.
    """
    tables = {url: table_of(url) for url in urls}
    expected = {table for table in tables.values() if table is not None}
    metadata = {url for url in urls if "/metadata/" in url and url.endswith(".parquet")}
    unpaired = sorted(expected ^ metadata if complete else metadata - expected)
    if unpaired:
        raise InvalidInputError(
            f"For every img_emb/*.npy there must be the metadata/*.parquet of its number, and the reverse; "
            f"of {unpaired[0]} and the embeddings that belong to it one is missing."
        )
    chosen = [url for url, table in tables.items() if table is not None or url.endswith(_ARCHIVES)]
    chosen = chosen if complete else [url for url in urls if url not in expected]
    if not chosen:
        raise InvalidInputError("There is no img_emb/*.npy, and no archive of them.")
    return chosen


def _names(urls: Sequence[str]) -> list[str]:
    """Return a name for each URL: its last part, with a number where an earlier URL has the same."""
    names: list[str] = []
    for url in urls:
        path = PurePosixPath(unquote(urlsplit(url).path, errors="replace"))
        # Embeddings are packed with their metadata as a tar.
        packed = path.with_suffix(".tar") if table_of(url) is not None else path
        name = upload_name(packed.name or "import")
        candidate, number = name, 1
        while candidate in names:
            number += 1
            stem, dot, ending = name.partition(".")
            candidate = f"{stem[:150]}-{number}{dot}{ending[:40]}"
        names.append(candidate)
    return names
