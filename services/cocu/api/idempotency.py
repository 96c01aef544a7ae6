"""The Idempotency-Key header on requests that create (draft-ietf-httpapi-idempotency-key-header-07).

The same key with the same request gets the answer that the first one got, with another request 422, and while
the first is being carried out 409. Only what was done is kept: a request that was refused may be corrected
and sent again under its key. Keys are a tenant's own, and are forgotten after `idempotency_seconds`.

Whoever carries a request out holds a claim on its key, and renews it until it is done. What is to be written
then and cannot, because the catalog is away, is written once it is back; nobody waits for that. The claim of
a process that died ends by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cocu.api.dependencies import tenant
from cocu.api.problems import BadRequestError
from cocu.errors import UnavailableError
from cocu.platform import Platform
from cocu.storage.catalog import idempotency
from cocu.storage.catalog.idempotency import Answer, InFlightError
from cocu.storage.catalog.repeating import patience

logger = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
CLAIM_SECONDS: Final = 30.0
"""How long a claim lasts that is not renewed: then the request of a process that died may be carried out."""
LATER_PATIENCE: Final = 1.0
"""Seconds for which the catalog is asked at a time where nobody waits for the answer."""
LARGEST_ANSWER: Final = 8 << 20
PATTERN: Final = r'^(?:"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,200})"|([!#-+\--:<-\[\]-~]{1,200}))$'
_KEY = re.compile(PATTERN)
_TELLING = ("content-type", "upload-length", "upload-metadata")
"""Headers that belong to what is asked for."""
# The event loop itself would let go of them.
_unwritten: set[asyncio.Task[None]] = set()
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
        renewing = asyncio.create_task(self._renew())
        ending = self._of_mine(idempotency.release)
        try:
            response = await handle(self._request)
            given = _kept(response)
            if given is not None:
                ending = self._of_mine(idempotency.answer, given=given)
        finally:
            renewing.cancel()
            await self._write(ending)
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

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            await self._later(self._of_mine(idempotency.renew, claim_seconds=CLAIM_SECONDS))

    async def _write(self, ending: Callable[[], None]) -> None:
        try:
            await run_in_threadpool(ending)
        except UnavailableError as error:
            logger.warning("the end of a request with an Idempotency-Key is written later: %s", error)
            task = asyncio.create_task(self._write_later(ending))
            _unwritten.add(task)
            task.add_done_callback(_unwritten.discard)

    async def _write_later(self, ending: Callable[[], None]) -> None:
        # After that the claim is over, and the key another request's.
        end = time.monotonic() + CLAIM_SECONDS
        while time.monotonic() < end and not await self._later(ending):
            await asyncio.sleep(LATER_PATIENCE)

    async def _later(self, write: Callable[[], None]) -> bool:
        """Whether it is written; nobody waits for it."""

        def briefly() -> None:
            with patience(LATER_PATIENCE):
                write()

        try:
            # Threads of their own: those that answer requests are not to wait out an outage.
            await asyncio.to_thread(briefly)
        except UnavailableError:
            return False
        return True

    def _of_mine(self, function: Callable[..., None], **given: Any) -> Callable[[], None]:
        return partial(function, self._platform.catalog, **self._mine, **given)


def _kept(response: Response) -> Answer | None:
    """What is answered to whoever repeats the request; None where it is to be carried out again."""
    body = getattr(response, "body", None)
    if not isinstance(body, bytes) or response.status_code >= 400 or len(body) > LARGEST_ANSWER:
        return None
    headers = {name: value for name, value in response.headers.items() if name in _KEPT}
    return Answer(response.status_code, headers, body)


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
