"""URLs of remote files without their secrets: a presigned URL gives access to its file."""

from __future__ import annotations

from urllib.parse import urlsplit


def redact(source: str) -> str:
    """Return a URL without query, fragment, user name and password; any other text unchanged.

    >>> redact("https://me:secret@example.org/photos.tar?signature=abc#x")
    'https://example.org/photos.tar'
    """
    scheme, separator, _ = source.partition("://")
    if not separator:
        return source
    try:
        parts = urlsplit(source)
    except ValueError:
        return f"{scheme}://"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
