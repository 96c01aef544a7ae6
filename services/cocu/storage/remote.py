"""Stores behind a network: how long they are waited for, and how large objects go there and back.

A request takes 30 seconds at most and is tried six times within 20: nobody who waits for an object waits much
longer than a minute. So that size makes no difference, large objects travel in parts: up as one multipart
upload, which becomes the object when its last part is there, and down by ranges of one version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore import delete, get, sign
from obstore.exceptions import BaseError
from obstore.store import ObjectStore as Backend
from obstore.store import S3Store

from cocu.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:  # they are in obstore's stubs alone
    from obstore.store import ClientConfig, RetryConfig

_PART_BYTES = 8 << 20
_MOST_PARTS = 10_000
"""Of one multipart upload; so says S3."""
_PARTS_AT_ONCE = 4
_DELETED_AT_ONCE = 1_000
_LONGEST_SIGNED = timedelta(days=7)

_CLIENT: ClientConfig = {
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=30),
    "user_agent": "cocu",
}
_RETRIES: RetryConfig = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}


def open_remote(url: str) -> Backend:
    """The store at s3://bucket/prefix; credentials, region and endpoint come from the AWS_* variables.

    An endpoint of http:// is used as it is. Raises InvalidInputError for a URL that names no store.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    plain = endpoint.startswith("http://") or os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    try:
        return S3Store.from_url(url, client_options={**_CLIENT, "allow_http": plain}, retry_config=_RETRIES)
    except (BaseError, ValueError) as error:
        raise InvalidInputError(
            f"objects URL {url!r} cannot be opened ({error}); "
            "use file:///folder, memory:// or s3://bucket/prefix"
        ) from error


def put_file(backend: Backend, path: str, file: Path) -> None:
    """Makes a file an object, whole or not at all. Raises UnavailableError where there is no such bucket."""
    # Else the size of an object would be limited by the number of its parts.
    part = max(_PART_BYTES, -(-file.stat().st_size // _MOST_PARTS))
    try:
        backend.put(path, file, chunk_size=part, max_concurrency=_PARTS_AT_ONCE)
    except FileNotFoundError as error:
        if not file.exists():
            raise
        raise UnavailableError(f"the object store has no place for {path!r}: is its bucket there?") from error


def pieces(backend: Backend, path: str) -> Iterator[bytes]:
    """One version of an object, a part at a time; asks for it at once, for each part when it is needed."""
    meta = backend.head(path)
    return _parts(backend, path, int(meta["size"]), meta["e_tag"])


def _parts(backend: Backend, path: str, size: int, version: str | None) -> Iterator[bytes]:
    for start in range(0, size, _PART_BYTES):
        wanted = (start, min(start + _PART_BYTES, size))
        found = get(backend, path, options={"range": wanted, "if_match": version})
        yield bytes(found.bytes())


def list_paths(backend: Backend, prefix: str | None, *, older_than: float) -> list[str]:
    """Paths under a prefix; where `older_than` is not 0, of objects not written for so many seconds."""
    found = (meta for page in backend.list(prefix) for meta in page)
    if not older_than:
        return [str(meta["path"]) for meta in found]
    latest = datetime.now(UTC) - timedelta(seconds=older_than)
    return [str(meta["path"]) for meta in found if meta["last_modified"] < latest]


def delete_all(backend: Backend, paths: list[str]) -> None:
    """Deletes objects, a thousand with one request."""
    for start in range(0, len(paths), _DELETED_AT_ONCE):
        delete(backend, paths[start : start + _DELETED_AT_ONCE])


def signed_url(backend: Backend, path: str, *, seconds: float) -> str | None:
    """An address that whoever has it may read the object from until then; None where the store has none."""
    if not isinstance(backend, S3Store):
        return None
    return sign(backend, "GET", path, min(timedelta(seconds=seconds), _LONGEST_SIGNED))
