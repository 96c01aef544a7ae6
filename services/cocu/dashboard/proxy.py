"""The REST API as the browser reaches it where the dashboard is a service of its own: passed on, streamed.

The browser has one origin, so pictures, events and uploads of the pages come through here, with the
credential of the viewer. Nothing is kept and nothing is changed.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from cocu.dashboard.upstream import Upstream, UpstreamError, passed_on
from cocu.http.problems import problem_response

METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_OF_A_CONNECTION: Final = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "expect",
    # The dashboard has compared it with its own name; the platform has another.
    "origin",
})  # fmt: skip
"""Headers that are about one connection (RFC 9110, 7.6.1), or that the next connection has of its own."""


class Proxy:
    """Passes requests below /v1 on to a platform."""

    def __init__(self, platform: str) -> None:
        # Events last as long as their viewers.
        self._platform = Upstream(platform, seconds=None)

    async def pass_on(self, request: Request) -> Response:
        """The answer of the platform, as it comes; 502 where it cannot be reached."""
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        query = request.scope["query_string"]
        path = request.scope["raw_path"].partition(b"?")[0] + (b"?" + query if query else b"")
        headers = [(name, value) for name, value in request.headers.raw if _is_passed_on(name)]
        try:
            answer = await self._platform.send(
                request.method, path, headers, request.stream() if has_body else None
            )
        except UpstreamError as error:
            return problem_response(502, f"The platform behind the dashboard does not answer: {error}")
        return passed_on(answer, [(name, value) for name, value in answer.headers.raw if _is_passed_on(name)])


def _is_passed_on(name: bytes) -> bool:
    return name.decode("latin-1").lower() not in _OF_A_CONNECTION
