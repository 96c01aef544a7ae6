"""Buckets of others: what lies under an s3:// prefix, read with the credentials of the environment (AWS_*).

Only under prefixes that the operator has named: whoever may import must not read whatever the platform may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from obstore.exceptions import BaseError

from cocu.errors import InvalidInputError, LimitExceededError, NotFoundError, UnavailableError
from cocu.storage import remote


def list_files(url: str, *, allowed: Iterable[str], most: int) -> list[str]:
    """The s3:// URLs of the files under a prefix, sorted.

    Raises InvalidInputError for a prefix that is not allowed, NotFoundError for one without files,
    LimitExceededError for more than `most`, UnavailableError.
    """
    bucket, prefix = _parts(url, allowed)
    found: list[str] = []
    with _translated(url):
        for page in remote.open_remote(f"s3://{bucket}").list(prefix or None):
            found += [str(meta["path"]) for meta in page if meta["size"] > 0]
            if len(found) > most:
                raise LimitExceededError(f"more than {most:,} files lie under {url}; import parts of it")
    if not found:
        raise NotFoundError(f"no files lie under {url}")
    return [f"s3://{bucket}/{path}" for path in sorted(found)]


def read(url: str, *, allowed: Iterable[str]) -> Iterator[bytes]:
    """The bytes of one file.

    Raises InvalidInputError where that is not allowed, NotFoundError, UnavailableError.
    """
    bucket, path = _parts(url, allowed)
    with _translated(url):
        yield from remote.pieces(remote.open_remote(f"s3://{bucket}"), path)


def _parts(url: str, allowed: Iterable[str]) -> tuple[str, str]:
    """Bucket and path of a URL that is allowed."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    clean = f"s3://{parts.netloc}/{path}"
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or ".." in path.split("/"):
        raise InvalidInputError(f"{url!r} names no prefix; write s3://bucket/prefix")
    prefixes = [each.rstrip("/") for each in allowed]
    if not any(clean.rstrip("/") == each or clean.startswith(each + "/") for each in prefixes):
        raise InvalidInputError(
            f"imports from {clean} are not allowed here; the operator names what is (import_buckets)"
        )
    return parts.netloc, path


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {url}") from error
    except (BaseError, OSError, ValueError) as error:
        first_line = str(error).split("\n", 1)[0][:200]
        raise UnavailableError(f"{url} cannot be read: {first_line}") from error
