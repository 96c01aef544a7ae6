"""Files to import from s3:// prefixes, read with the credentials of the environment (AWS_*).

Only from prefixes that the operator allows: users who may import must not read everything that the platform
itself may read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from obstore.exceptions import BaseError

from cocu.errors import InvalidInputError, LimitExceededError, NotFoundError, UnavailableError
from cocu.storage import remote


def list_files(url: str, *, allowed: Iterable[str], limit: int) -> list[str]:
    """The s3:// URLs of the files under a prefix, sorted.

    Raises InvalidInputError for a prefix that is not allowed, NotFoundError for one without files,
    LimitExceededError for more than `limit`, UnavailableError.
    """
    bucket, prefix = _parts(url, allowed)
    paths: list[str] = []
    with _translate_errors(url):
        for page in remote.open_remote(f"s3://{bucket}").list(prefix or None):
            paths += [str(meta["path"]) for meta in page if meta["size"] > 0]
            if len(paths) > limit:
                raise LimitExceededError(f"more than {limit:,} files lie under {url}; import parts of it")
    if not paths:
        raise NotFoundError(f"no files lie under {url}")
    return [f"s3://{bucket}/{path}" for path in sorted(paths)]


def read(url: str, *, allowed: Iterable[str]) -> Iterator[bytes]:
    """The bytes of one file, in pieces.

    Raises InvalidInputError for a file that is not allowed, NotFoundError, UnavailableError.
    """
    bucket, path = _parts(url, allowed)
    with _translate_errors(url):
        yield from remote.pieces(remote.open_remote(f"s3://{bucket}"), path)


def _parts(url: str, allowed: Iterable[str]) -> tuple[str, str]:
    """Bucket and path of a URL that is allowed."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    clean = f"s3://{parts.netloc}/{path}"
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or ".." in path.split("/"):
        # The message does not repeat the URL: its query may be a secret.
        raise InvalidInputError("the URL names no prefix; write s3://bucket/prefix")
    prefixes = [prefix.rstrip("/") for prefix in allowed]
    if not any(clean.rstrip("/") == prefix or clean.startswith(prefix + "/") for prefix in prefixes):
        raise InvalidInputError(
            f"imports from {clean} are not allowed here; the operator names what is (import_buckets)"
        )
    return parts.netloc, path


@contextmanager
def _translate_errors(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {url}") from error
    except (BaseError, OSError, ValueError) as error:
        first_line = str(error).split("\n", 1)[0][:200]
        raise UnavailableError(f"{url} cannot be read: {first_line}") from error
