"""ETags and Cache-Control of things that never change."""

from __future__ import annotations

import hashlib
from typing import Final

from fastapi import Request, Response

IMMUTABLE: Final = "private, max-age=31536000, immutable"


def not_modified(request: Request, tag: str) -> bool:
    """Whether the caller holds the version called `tag` already."""
    held = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return quoted(tag) in held or "*" in held


def tag_of(*parts: object) -> str:
    """A tag that is the same for the same parts."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode("utf-8", "replace")).hexdigest()[:32]


def quoted(tag: str) -> str:
    """A tag as it stands in a header."""
    return f'"{tag}"'


def mark_immutable(response: Response, tag: str) -> Response:
    """The response with headers that let everyone keep it for good."""
    response.headers["ETag"] = quoted(tag)
    response.headers["Cache-Control"] = IMMUTABLE
    return response


def unchanged(tag: str) -> Response:
    """304, for a caller that holds this version."""
    return mark_immutable(Response(status_code=304), tag)
