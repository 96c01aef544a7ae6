"""A service behind the dashboard, whose answers are passed on to the browser as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import httpx
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from cocu.proxies import BadEnvironmentError, http_options

CONNECT_SECONDS: Final = 5.0
Headers = Iterable[tuple[bytes, bytes]]


class UpstreamError(Exception):
    """The service does not answer; the message says why."""


class Upstream:
    """A service at a URL.

    seconds: how long it may be silent; None where an answer may last as long as its viewer, as events do.
    """

    def __init__(self, url: str, *, seconds: float | None) -> None:
        self._url = httpx.URL(url)
        self._timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        self._clients: AsyncGenerator[httpx.AsyncClient, None] | None = None
        self._client: httpx.AsyncClient | None = None

    async def send(
        self, method: str, path: bytes, headers: Headers, content: AsyncIterable[bytes] | None = None
    ) -> httpx.Response:
        """The answer, whose body is not read yet. path: as sent, with its query. Raises UpstreamError."""
        try:
            if self._client is None:
                self._clients = _clients(str(self._url), self._timeout)
                self._client = await anext(self._clients)
            url = self._url.copy_with(raw_path=self._url.raw_path.rstrip(b"/") + path)
            request = self._client.build_request(method, url, headers=list(headers), content=content)
            return await self._client.send(request, stream=True)
        except (httpx.TransportError, BadEnvironmentError) as error:
            raise UpstreamError(str(error) or type(error).__name__) from error


def passed_on(answer: httpx.Response, headers: Headers) -> Response:
    """An answer as it comes, under these headers; its connection ends with it."""
    response = StreamingResponse(
        answer.aiter_raw(), status_code=answer.status_code, background=BackgroundTask(answer.aclose)
    )
    response.raw_headers = [(name.lower(), value) for name, value in headers]
    return response


async def _clients(url: str, timeout: httpx.Timeout) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of the running event loop, which closes it.

    Nobody tells an application that its server ends, but a loop that ends closes its asynchronous generators.
    """
    options = http_options(url)
    async with httpx.AsyncClient(**options, timeout=timeout, follow_redirects=False) as client:
        # What a service remembers of one viewer is not sent for another.
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        while True:
            yield client
