"""The header Idempotency-Key on requests that create (draft-ietf-httpapi-idempotency-key-header-07).

The same key with the same request gets the answer of the first request. With another request it gets 422,
and 409 while the first still runs. Only successful answers are stored: a refused request may be corrected and
sent again with its key. Keys belong to a tenant, and are deleted after `idempotency_seconds`.

The process that runs a request holds a claim on its key, and renews it until the request is done. If the
catalog does not answer then, the answer is stored in the background as soon as it does. The claim of a
process that died expires.
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
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cocu.api.bodies import JsonRequest, JsonRoute, SpooledRequest
from cocu.api.dependencies import tenant
from cocu.api.problems import BadRequestError
from cocu.catalog import idempotency
from cocu.catalog.idempotency import Answer, InFlightError
from cocu.catalog.retry import timeout
from cocu.errors import UnavailableError
from cocu.platform import Platform

logger = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
CLAIM_SECONDS: Final = 30.0
"""How long a claim lasts that is not renewed; after it the request of a dead process may run again."""
BACKGROUND_SECONDS: Final = 1.0
"""Timeout of one attempt to write to the catalog in the background, and the pause between attempts."""
MAX_ANSWER_BYTES: Final = 8 << 20
PATTERN: Final = r'^(?:"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,200})"|([!#-+\--:<-\[\]-~]{1,200}))$'
_KEY = re.compile(PATTERN)
_REQUEST_HEADERS = ("content-type", "upload-length", "upload-metadata")
"""Headers in which two requests with one key must agree."""
# The event loop keeps only weak references to tasks: without this set they could be collected.
_unwritten: set[asyncio.Task[None]] = set()
_ANSWER_HEADERS = (
    "content-type",
    "location",
    "retry-after",
    "upload-offset",
    "upload-expires",
    "cache-control",
)


class IdempotentRoute(JsonRoute):
    """A route whose POST runs once per Idempotency-Key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, wrapped."""
        handle = super().get_route_handler()

        async def idempotent(original: Request) -> Response:
            request = self.request_class.of(original)
            header = request.headers.get(HEADER)
            if header is None or request.method != "POST":
                return await handle(request)
            try:
                return await _IdempotentCall(request, _key(header)).run(handle)
            finally:
                request.release()

        return idempotent


class SpooledRoute(IdempotentRoute):
    """The same for bodies that are too large for the memory."""

    request_class = SpooledRequest


class _IdempotentCall:
    """One request with a key, and the claim on the key."""

    def __init__(self, request: JsonRequest, key: str) -> None:
        self._request = request
        self._platform: Platform = request.app.state.platform
        self._claim_id = {"tenant": tenant(request), "key": key, "owner": secrets.token_hex(16)}

    async def run(self, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
        """Return the stored answer of the key, or run the request and store its answer."""
        stored = await self._claim()
        if stored is not None:
            return Response(stored.body, status_code=stored.status, headers=stored.headers)
        renewing = asyncio.create_task(self._renew())
        ending: Callable[[], None] | None = self._for_claim(idempotency.release)
        try:
            response = await handle(self._request)
            answer = _answer(response)
            if answer is not None:
                ending = self._for_claim(idempotency.store_answer, answer=answer)
        except asyncio.CancelledError:
            # A thread may still run the request: keep the claim, and let it expire as that of a dead process.
            ending = None
            raise
        finally:
            renewing.cancel()
            if ending is not None:
                await self._write(ending)
        return response

    async def _claim(self) -> Answer | None:
        try:
            return await run_in_threadpool(
                idempotency.claim,
                self._platform.catalog,
                **self._claim_id,
                fingerprint=await _fingerprint(self._request),
                claim_seconds=CLAIM_SECONDS,
                kept_seconds=self._platform.settings.idempotency_seconds,
            )
        except InFlightError as error:
            raise HTTPException(409, str(error), headers={"Retry-After": "1"}) from error

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            await self._write_briefly(self._for_claim(idempotency.renew, claim_seconds=CLAIM_SECONDS))

    async def _write(self, ending: Callable[[], None]) -> None:
        try:
            await run_in_threadpool(ending)
        except UnavailableError as error:
            logger.warning("the result of a request with an Idempotency-Key is stored later: %s", error)
            task = asyncio.create_task(self._write_later(ending))
            _unwritten.add(task)
            task.add_done_callback(_unwritten.discard)

    async def _write_later(self, ending: Callable[[], None]) -> None:
        # Then the claim has expired, and another request may hold the key.
        end = time.monotonic() + CLAIM_SECONDS
        while time.monotonic() < end and not await self._write_briefly(ending):
            await asyncio.sleep(BACKGROUND_SECONDS)

    async def _write_briefly(self, write: Callable[[], None]) -> bool:
        """Write in the background, with a short timeout; return whether it succeeded."""

        def briefly() -> None:
            with timeout(BACKGROUND_SECONDS):
                write()

        try:
            # Not in the thread pool of requests: during an outage its threads would all wait here.
            await asyncio.to_thread(briefly)
        except UnavailableError:
            return False
        return True

    def _for_claim(self, function: Callable[..., None], **arguments: Any) -> Callable[[], None]:
        return partial(function, self._platform.catalog, **self._claim_id, **arguments)


def _answer(response: Response) -> Answer | None:
    """Return the answer to store for repeated requests; None where a repeated request must run again."""
    body = getattr(response, "body", None)
    if not isinstance(body, bytes) or response.status_code >= 400 or len(body) > MAX_ANSWER_BYTES:
        return None
    headers = {name: value for name, value in response.headers.items() if name in _ANSWER_HEADERS}
    return Answer(response.status_code, headers, body)


def _key(header: str) -> str:
    match = _KEY.fullmatch(header.strip())
    if match is None:
        raise BadRequestError(
            f'{HEADER} must be a string of 1 to 200 printable characters, such as "{secrets.token_hex(16)}".'
        )
    return match[1] or match[2]


async def _fingerprint(request: JsonRequest) -> str:
    digest = hashlib.sha256()
    parts = [request.method, request.url.path, request.url.query]
    parts += [request.headers.get(name, "") for name in _REQUEST_HEADERS]
    for text in parts:
        part = text.encode()
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    body = hashlib.sha256()
    async for piece in request.pieces():
        body.update(piece)
    digest.update(body.digest())
    return digest.hexdigest()
