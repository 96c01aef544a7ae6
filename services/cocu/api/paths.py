"""Sample keys in paths: slashes, percent signs and every other character survive.

A server decodes `%2F` before routing, and `samples/a%2Fimage` would become the image of `a`. So paths are
decoded here, once, segment by segment, with slashes inside a segment kept as `%2F` (and percent signs as
`%25`); routes then see segments as they were sent, and `SampleKey` takes the last layer off.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Path
from starlette.types import ASGIApp, Receive, Scope, Send

from cocu.errors import NotFoundError

LONGEST_KEY = 4096


class SegmentPaths:
    """ASGI middleware that decodes paths without losing where segments end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its path decoded."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and b"%" in raw:
            scope = {**scope, "path": decoded_path(raw)}
        await self.app(scope, receive, send)


def decoded_path(raw: bytes) -> str:
    """The path of a request line, decoded except for slashes and percent signs inside segments.

    >>> decoded_path(b"/samples/a%2Fb%20c%25/image")
    '/samples/a%2Fb c%25/image'
    """
    segments = raw.partition(b"?")[0].decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("%", "%25").replace("/", "%2F") for segment in segments)


def sample_key(key: Annotated[str, Path(description="Key of a sample, percent-encoded.")]) -> str:
    """The key that a path names. One that no sample can have is simply not there."""
    decoded = key.replace("%2F", "/").replace("%25", "%")
    if "\0" in decoded or len(decoded) > LONGEST_KEY:
        raise NotFoundError("no sample can have such a key: keys hold no NUL and at most 4,096 characters")
    return decoded


SampleKey = Annotated[str, Depends(sample_key)]
