"""Remote stores: time limits, and the transfer of large objects.

A request takes at most 30 seconds and is retried up to six times within 20 seconds, so a caller waits little
more than a minute. For this to hold for every size, large objects are sent in parts: up as one multipart
upload, which becomes the object when its last part has arrived, and down as ranges of one version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore import delete, get, sign
from obstore.exceptions import BaseError
from obstore.store import ObjectStore as Backend
from obstore.store import S3Store

from cocu.errors import InvalidInputError, UnavailableError
from cocu.proxies import is_loopback

if TYPE_CHECKING:  # only in obstore's stubs
    from obstore.store import ClientConfig, RetryConfig

_PART_BYTES = 8 << 20
_MAX_PARTS = 10_000
"""Parts of one multipart upload, a limit of S3."""
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
    """Open the store at s3://bucket/prefix; credentials, region and endpoint come from the AWS_* variables.

    An endpoint of http:// is used as it is. Raises InvalidInputError for a URL that names no store.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    plain = endpoint.startswith("http://") or os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    try:
        options: ClientConfig = {**_CLIENT, "allow_http": plain, **_without_proxy(endpoint)}
        return S3Store.from_url(url, client_options=options, retry_config=_RETRIES)
    except (BaseError, ValueError) as error:
        if "CA certificates" in str(error):
            raise InvalidInputError(
                f"objects URL {url!r} cannot be opened: there are no certificates to verify its server with; "
                "look at SSL_CERT_FILE and SSL_CERT_DIR"
            ) from error
        raise InvalidInputError(
            f"objects URL {url!r} cannot be opened ({error}); "
            "use file:///folder, memory:// or s3://bucket/prefix"
        ) from error


def _without_proxy(endpoint: str) -> ClientConfig:
    """Options for an endpoint on this machine, which is never reached through a proxy; else no options."""
    host = urlsplit(endpoint).hostname or ""
    # A proxy in the options replaces those of the environment, and the excluded host is reached without it.
    if not is_loopback(host):
        return {}
    direct: ClientConfig = {"proxy_url": endpoint, "proxy_excludes": host}
    # Without this the client needs certificates on this machine, which plain HTTP never uses.
    return {**direct, "allow_invalid_certificates": True} if endpoint.startswith("http://") else direct


def put_file(backend: Backend, path: str, file: Path) -> None:
    """Store a file as an object, atomically. Raises UnavailableError where the bucket does not exist."""
    # Parts of larger files are larger, because their number is limited.
    part_bytes = max(_PART_BYTES, -(-file.stat().st_size // _MAX_PARTS))
    try:
        backend.put(path, file, chunk_size=part_bytes, max_concurrency=_PARTS_AT_ONCE)
    except FileNotFoundError as error:
        if not file.exists():
            raise
        raise UnavailableError(f"the object store has no place for {path!r}: is its bucket there?") from error


def pieces(backend: Backend, path: str) -> Iterator[bytes]:
    """One version of an object, in parts. The version is looked up at once, each part when it is needed."""
    meta = backend.head(path)
    return _parts(backend, path, int(meta["size"]), meta["e_tag"])


def _parts(backend: Backend, path: str, size: int, version: str | None) -> Iterator[bytes]:
    for start in range(0, size, _PART_BYTES):
        part_range = (start, min(start + _PART_BYTES, size))
        part = get(backend, path, options={"range": part_range, "if_match": version})
        yield bytes(part.bytes())


def list_paths(backend: Backend, prefix: str | None, *, older_than: float) -> list[str]:
    """Paths under a prefix; with `older_than`, only of objects that are older than so many seconds."""
    metas = (meta for page in backend.list(prefix) for meta in page)
    if not older_than:
        return [str(meta["path"]) for meta in metas]
    latest = datetime.now(UTC) - timedelta(seconds=older_than)
    return [str(meta["path"]) for meta in metas if meta["last_modified"] < latest]


def delete_all(backend: Backend, paths: list[str]) -> None:
    """Delete objects, a thousand in one request."""
    for start in range(0, len(paths), _DELETED_AT_ONCE):
        delete(backend, paths[start : start + _DELETED_AT_ONCE])


def signed_url(backend: Backend, path: str, *, seconds: float) -> str | None:
    """A URL that allows reading the object for so many seconds; None where the store has no such URLs."""
    if not isinstance(backend, S3Store):
        return None
    return sign(backend, "GET", path, min(timedelta(seconds=seconds), _LONGEST_SIGNED))
