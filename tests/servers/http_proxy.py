"""A proxy on localhost that serves another server under a path of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

_OWN = {"connection", "transfer-encoding", "keep-alive"}


class HttpProxy:
    """Passes on what is asked for under `prefix`.

    taken_off: whether the prefix is left out of what is passed on. told: headers that are added.
    """

    def __init__(self, target: str, prefix: str, *, taken_off: bool, told: Mapping[str, str]) -> None:
        self._target, self._prefix, self._taken_off, self._told = target, prefix, taken_off, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        request = Request(scope, receive)
        path = scope["raw_path"].decode("latin-1")
        if not path.startswith(f"{self._prefix}/"):
            await StreamingResponse(iter(()), status_code=404)(scope, receive, send)
            return
        if self._taken_off:
            path = path.removeprefix(self._prefix)
        query = f"?{request.url.query}" if request.url.query else ""
        headers = [(name, value) for name, value in request.headers.items() if name not in _OWN]
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            passed_on = client.build_request(
                request.method,
                f"{self._target}{path}{query}",
                headers=[*headers, *self._told.items()],
                content=request.stream() if has_body else None,
            )
            answer = await client.send(passed_on, stream=True)
            try:
                kept = {name: value for name, value in answer.headers.items() if name not in _OWN}
                body = _pieces(answer)
                await StreamingResponse(body, status_code=answer.status_code, headers=kept)(
                    scope, receive, send
                )
            finally:
                await answer.aclose()


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for piece in answer.aiter_raw():
        yield piece


@contextmanager
def http_proxy(
    target: str, prefix: str, *, taken_off: bool = True, told: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A proxy before a server; the URL under which it serves that server."""
    app = HttpProxy(target, prefix, taken_off=taken_off, told=told or {})
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}{prefix}"
        finally:
            server.should_exit = True
            thread.join(10)
