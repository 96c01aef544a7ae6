"""The Idempotency-Key header on requests that create (draft-ietf-httpapi-idempotency-key-header-07).

The same key with the same request gets the answer that the first one got, with another request 422, and while
the first is being carried out 409. Only what was done is kept: a request that was refused may be corrected
and sent again under its key. Keys are a tenant's own, and are forgotten after `idempotency_seconds`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cocu.api.dependencies import tenant
from cocu.api.problems import BadRequestError
from cocu.platform import Platform
from cocu.storage.catalog import idempotency
from cocu.storage.catalog.idempotency import Answer, InFlightError

HEADER: Final = "Idempotency-Key"
CLAIM_SECONDS: Final = 600.0
"""After how long a request whose process died may be carried out again."""
LARGEST_ANSWER: Final = 8 << 20
PATTERN: Final = r'^(?:"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,200})"|([!#-+\--:<-\[\]-~]{1,200}))$'
_KEY = re.compile(PATTERN)
_TELLING = ("content-type", "upload-length", "upload-metadata")
"""Headers that belong to what is asked for."""
_KEPT = ("content-type", "location", "retry-after", "upload-offset", "upload-expires", "cache-control")


class IdempotentRoute(APIRoute):
    """A route whose POST is carried out once per Idempotency-Key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, wrapped."""
        handle = super().get_route_handler()

        async def idempotent(request: Request) -> Response:
            header = request.headers.get(HEADER)
            if header is None or request.method != "POST":
                return await handle(request)
            return await _Once(request, _key(header)).answered_by(handle)

        return idempotent


class _Once:
    def __init__(self, request: Request, key: str) -> None:
        self._request = request
        self._platform: Platform = request.app.state.platform
        self._mine = {"tenant": tenant(request), "key": key, "owner": secrets.token_hex(16)}

    async def answered_by(self, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
        before = await self._claim()
        if before is not None:
            return Response(before.body, status_code=before.status, headers=before.headers)
        kept = False
        try:
            response = await handle(self._request)
            kept = await self._keep(response)
        finally:
            if not kept:
                await run_in_threadpool(idempotency.release, self._platform.catalog, **self._mine)
        return response

    async def _claim(self) -> Answer | None:
        try:
            return await run_in_threadpool(
                idempotency.claim,
                self._platform.catalog,
                **self._mine,
                fingerprint=await _fingerprint(self._request),
                claim_seconds=CLAIM_SECONDS,
                kept_seconds=self._platform.settings.idempotency_seconds,
            )
        except InFlightError as error:
            raise HTTPException(409, str(error), headers={"Retry-After": "1"}) from error

    async def _keep(self, response: Response) -> bool:
        """Whether the answer is one to repeat, and is kept."""
        body = getattr(response, "body", None)
        if not isinstance(body, bytes) or response.status_code >= 400 or len(body) > LARGEST_ANSWER:
            return False
        headers = {name: value for name, value in response.headers.items() if name in _KEPT}
        given = Answer(response.status_code, headers, body)
        await run_in_threadpool(idempotency.answer, self._platform.catalog, **self._mine, given=given)
        return True


def _key(header: str) -> str:
    match = _KEY.fullmatch(header.strip())
    if match is None:
        raise BadRequestError(
            f'{HEADER} must be a string of 1 to 200 printable characters, such as "{secrets.token_hex(16)}".'
        )
    return match[1] or match[2]


async def _fingerprint(request: Request) -> str:
    digest = hashlib.sha256()
    parts = [request.method, request.url.path, request.url.query]
    parts += [request.headers.get(name, "") for name in _TELLING]
    for part in (*(text.encode() for text in parts), await request.body()):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
