"""ETags and Cache-Control of immutable resources."""

from __future__ import annotations

import hashlib
from typing import Final

from fastapi import Request, Response

IMMUTABLE: Final = "private, max-age=31536000, immutable"
CHECKED: Final = "private, no-cache"


def not_modified(request: Request, tag: str) -> bool:
    """Whether the client has the version with this tag already."""
    known_tags = [
        tag_.strip().removeprefix("W/") for tag_ in request.headers.get("if-none-match", "").split(",")
    ]
    return quote(tag) in known_tags or "*" in known_tags


def make_tag(*parts: object) -> str:
    """Return a tag that is the same for the same parts."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode("utf-8", "replace")).hexdigest()[:32]


def quote(tag: str) -> str:
    """Return a tag in quotes, as headers have it."""
    return f'"{tag}"'


def mark_immutable(response: Response, tag: str) -> Response:
    """Return the response with headers that allow clients to cache it for ever and to fetch parts of it."""
    response.headers["ETag"] = quote(tag)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = IMMUTABLE
    return response


def mark_checked(response: Response, tag: str) -> Response:
    """Return the response with headers that let clients keep it, and ask each time whether it still holds."""
    mark_immutable(response, tag)
    response.headers["Cache-Control"] = CHECKED
    return response


def not_modified_response(tag: str, *, vary: str | None = None, cache: str = IMMUTABLE) -> Response:
    """Return a 304 response, for a client that has this version. vary, cache: headers of the full answer."""
    headers = {"ETag": quote(tag), "Cache-Control": cache}
    return Response(status_code=304, headers=headers if vary is None else {**headers, "Vary": vary})
