"""From a request to uploads that are fetched: which files, and what each is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from cocu.api import views
from cocu.client import models
from cocu.client.sources import upload_name
from cocu.datasets.fetching import FetchRefusedError
from cocu.errors import InvalidInputError
from cocu.platform import Platform
from cocu.storage import buckets
from cocu.storage.catalog import datasets, imports
from cocu.storage.catalog.imports import Source
from cocu.storage.catalog.uploads import UploadRecord

MOST_FILES = 1_000


def announce(
    platform: Platform, *, tenant: str, dataset: str, request: models.ImportCreate
) -> list[UploadRecord]:
    """Uploads for the files that a request names, and the work of fetching them.

    Raises InvalidInputError for URLs that never would be fetched, and the errors of `imports.announce` and
    `buckets.list_files`.
    """
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    urls = _urls(platform, request)
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


def _names(urls: Sequence[str]) -> list[str]:
    """A name for each: the last part of its URL, with a number where an earlier one has it."""
    names: list[str] = []
    for url in urls:
        path = PurePosixPath(unquote(urlsplit(url).path, errors="replace"))
        name = upload_name(path.name or "import")
        candidate, number = name, 1
        while candidate in names:
            number += 1
            stem, dot, ending = name.partition(".")
            candidate = f"{stem[:150]}-{number}{dot}{ending[:40]}"
        names.append(candidate)
    return names
