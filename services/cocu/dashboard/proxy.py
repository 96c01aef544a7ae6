"""The REST API as the browser reaches it where the dashboard is a service of its own: passed on, streamed.

The browser has one origin, so pictures, events and uploads of the pages come through here, with the
credential of the viewer. Nothing is kept and nothing is changed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cocu.http.problems import problem_response

METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
CONNECT_SECONDS: Final = 5.0
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
        self._platform = httpx.URL(platform)
        self._clients = clients()
        self._client: httpx.AsyncClient | None = None

    async def pass_on(self, request: Request) -> Response:
        """The answer of the platform, as it comes; 502 where it cannot be reached."""
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        prefix = self._platform.raw_path.rstrip(b"/")
        query = request.scope["query_string"]
        path = prefix + request.scope["raw_path"].partition(b"?")[0] + (b"?" + query if query else b"")
        if self._client is None:
            self._client = await anext(self._clients)
        asked = self._client.build_request(
            request.method,
            self._platform.copy_with(raw_path=path),
            headers=[(name, value) for name, value in request.headers.raw if _is_passed_on(name)],
            content=request.stream() if has_body else None,
        )
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.TransportError as error:
            return problem_response(502, f"The platform behind the dashboard does not answer: {error}")
        response = StreamingResponse(
            answer.aiter_raw(), status_code=answer.status_code, background=BackgroundTask(answer.aclose)
        )
        response.raw_headers = [
            (name.lower(), value) for name, value in answer.headers.raw if _is_passed_on(name)
        ]
        return response


async def clients() -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of the running event loop, which closes it.

    Nobody tells an application that its server ends, but a loop that ends closes its asynchronous generators.
    """
    # Events last as long as their viewers: only connecting has a limit here.
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False) as client:
        while True:
            yield client


def _is_passed_on(name: bytes) -> bool:
    return name.decode("latin-1").lower() not in _OF_A_CONNECTION
