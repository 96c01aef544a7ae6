"""Files of training runs, passed on from the training service: previews to be shown, all others to be kept.

The browser has one origin, and a trainer may write anything: nothing of a run is ever shown as a page.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

import httpx
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cocu.dashboard.links import segment
from cocu.dashboard.upstream import Headers, Upstream, UpstreamError, passed_on
from cocu.http.problems import problem_response

SECONDS: Final = 30.0
"""How long the training service may be silent within a file."""
PICTURE: Final = "image/png"
OTHER: Final = "application/octet-stream"
_RUN: Final = re.compile(r"[0-9A-Za-z_]{1,64}")
_ASKED_WITH: Final = (b"range", b"if-range", b"if-none-match")
_ANSWERED_WITH: Final = frozenset({
    b"accept-ranges", b"cache-control", b"content-length", b"content-range", b"etag", b"last-modified",
})  # fmt: skip


class RunFiles:
    """Passes files of runs on from one training service, whole or in parts."""

    def __init__(self, service: str, key: str | None) -> None:
        self._service = Upstream(service, seconds=SECONDS)
        # As they are stored: a part is a part of that, and its length is known.
        self._headers = [(b"accept-encoding", b"identity")]
        if key is not None:
            self._headers.append((b"authorization", f"Bearer {key}".encode()))

    async def show(self, request: Request) -> Response:
        """The file, as it comes; 404 where there is none, 502 where the service does not give it."""
        run, name = request.path_params["run"], request.path_params["name"]
        parts = name.split("/")
        is_inside = name.isprintable() and all(part not in {"", ".", ".."} for part in parts)
        if not (_RUN.fullmatch(run) and is_inside):
            raise HTTPException(404)
        path = f"/v1/runs/{run}/files/{'/'.join(map(segment, parts))}"
        asked = [(header, value) for header, value in request.headers.raw if header in _ASKED_WITH]
        try:
            answer = await self._service.send("GET", path.encode(), [*self._headers, *asked])
        except UpstreamError as error:
            return problem_response(502, f"The training service does not answer: {error}")
        is_file = answer.status_code in {200, 206}
        headers = [pair for pair in answer.headers.raw if pair[0].lower() in _ANSWERED_WITH]
        if is_file:
            headers += _kind(name, answer.headers.get("content-type"))
        if is_file and request.method != "HEAD":
            return passed_on(answer, headers)
        await answer.aclose()
        if is_file or answer.status_code == 304:
            return _head(answer.status_code, headers)
        return _refused(answer)


def _kind(name: str, media_type: str | None) -> Headers:
    if name.endswith(".png") and media_type == PICTURE:
        return [(b"content-type", PICTURE.encode())]
    # A name in UTF-8 (RFC 6266, 4.3), percent-encoded: no letter of it can end the header.
    kept_as = f"attachment; filename*=UTF-8''{segment(PurePosixPath(name).name)}"
    return [(b"content-type", OTHER.encode()), (b"content-disposition", kept_as.encode())]


def _head(status: int, headers: Headers) -> Response:
    response = Response(status_code=status)
    response.raw_headers = [(name.lower(), value) for name, value in headers]
    return response


def _refused(answer: httpx.Response) -> Response:
    status = answer.status_code
    if status == 416:
        length = answer.headers.get("content-range", "bytes */*")
        return problem_response(416, "The file has no such part.", headers={"Content-Range": length})
    if status in {404, 422}:
        raise HTTPException(404)
    if status == 401:
        return problem_response(502, "The training service asks for a key; COCU_TRAINING_API_KEY gives one.")
    return problem_response(502, f"The training service answered {status} when it was asked for the file.")
