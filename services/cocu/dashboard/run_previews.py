"""Previews of training runs: pictures among the files of the training service, passed on to the browser.

The browser has one origin and the pages a strict content security policy, so these come through here. Of all
files of a run only previews do: a checkpoint is nothing for a page.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import Final

import httpx
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cocu.dashboard.links import segment
from cocu.http.problems import problem_response
from cocu.proxies import BadEnvironmentError, http_options

TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
MEDIA_TYPE: Final = "image/png"
_RUN: Final = re.compile(r"[0-9A-Za-z_]{1,64}")
_PASSED_ON: Final = ("content-length", "content-encoding", "etag", "cache-control")


class RunPreviews:
    """Passes previews of runs on from one training service."""

    def __init__(self, service: str, key: str | None) -> None:
        self._service = service.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def show(self, request: Request) -> Response:
        """The picture, as it comes; 404 for what is no preview, 502 where the service does not answer."""
        run, name = request.path_params["run"], request.path_params["name"]
        parts = name.split("/")
        is_inside = all(part not in {"", ".", ".."} and part.isprintable() for part in parts)
        if not (_RUN.fullmatch(run) and is_inside and "previews" in parts[:-1] and name.endswith(".png")):
            raise HTTPException(404)
        held = request.headers.get("if-none-match")
        headers = self._headers | ({} if held is None else {"If-None-Match": held})
        url = f"{self._service}/v1/runs/{run}/files/{'/'.join(map(segment, parts))}"
        # A page has few of them: a client for each leaves no connection behind when the server ends.
        async with AsyncExitStack() as stack:
            try:
                client = httpx.AsyncClient(**http_options(url), timeout=TIMEOUT, follow_redirects=False)
                await stack.enter_async_context(client)
                answer = await stack.enter_async_context(client.stream("GET", url, headers=headers))
            except (httpx.TransportError, BadEnvironmentError) as error:
                return problem_response(502, f"The training service does not answer: {error}")
            is_picture = answer.status_code == 200 and answer.headers.get("content-type") == MEDIA_TYPE
            if not is_picture and answer.status_code != 304:
                raise HTTPException(404)
            opened = stack.pop_all()
        return StreamingResponse(
            answer.aiter_raw(),
            status_code=answer.status_code,
            media_type=MEDIA_TYPE,
            headers={name: answer.headers[name] for name in _PASSED_ON if name in answer.headers},
            background=BackgroundTask(opened.aclose),
        )
