"""Paths of requests, decoded segment by segment: texts in paths may contain slashes and percent signs.

A server decodes `%2F` before routing, and `samples/a%2Fimage` would become the image of `a`. So paths are
decoded here, once, segment by segment; slashes inside a segment stay `%2F` (and percent signs `%25`). Routes
then see the segments as they were sent, and `decode_segment` decodes the rest.

A request to a proxy has a whole URL (`GET http://host/healthz`), which every server must accept (RFC 9112,
3.2.2): its host replaces that of the header.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_WHOLE_URL = re.compile(rb"https?://([^/?#@]+)(?=/|$)", re.IGNORECASE)


class SegmentPaths:
    """ASGI middleware that decodes paths and keeps the boundaries of segments.

    root_path: a prefix of every path that a proxy does not remove; paths without it are accepted too.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app = app
        self._root = root_path.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its path decoded."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw:
            if not raw.startswith(b"/"):
                scope = _of_whole_url(scope)
                raw = scope["raw_path"]
            if self._root and raw.startswith(self._root + b"/"):
                raw = raw.removeprefix(self._root)
                scope = {**scope, "raw_path": raw, "path": unquote(raw.decode("latin-1"))}
            if b"%" in raw:
                scope = {**scope, "path": decode_path(raw)}
        await self.app(scope, receive, send)


def _of_whole_url(scope: Scope) -> Scope:
    """Return the same request with only the path of a whole URL, and its host as the header."""
    match = _WHOLE_URL.match(scope["raw_path"])  # without its query, which is in `query_string`
    if match is None:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    raw = scope["raw_path"][match.end() :] or b"/"
    return {
        **scope,
        "raw_path": raw,
        "path": unquote(raw.decode("latin-1")),
        "headers": [(b"host", match[1]), *headers],
    }


def decode_path(raw: bytes) -> str:
    """Return the path of a request line, decoded except for slashes and percent signs inside segments.

    >>> decode_path(b"/samples/a%2Fb%20c%25/image")
    '/samples/a%2Fb c%25/image'
    """
    segments = raw.partition(b"?")[0].decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("%", "%25").replace("/", "%2F") for segment in segments)


def decode_segment(segment: str) -> str:
    """The text of a segment that `decode_path` has decoded."""
    return segment.replace("%2F", "/").replace("%25", "%")
