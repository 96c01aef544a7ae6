"""The connection to Qdrant: opened, asked again after a passing failure, its errors in our words.

Failures that may pass (no connection, no answer in time, a server that is overloaded or restarts) are tried
again while less than `seconds` have gone by (`bulk_seconds` for loads of points); as one attempt takes that
long at most, no call takes more than twice the time. Whoever comes in the seconds after that is refused at
once, so that a silent server costs neither the API its threads nor the workers their time. Every write is
idempotent, so that a repeated one does no harm.
"""

from __future__ import annotations

import json
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from cocu import machine
from cocu.errors import RefusedError, UnavailableError
from cocu.proxies import BadEnvironmentError, grpc_options, http_options
from cocu.vectors.backend import VectorOptions

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_LONGEST_REST = 10.0
_REST = 2.0
"""How long a server is left alone after a failure, for each second that was lost to it."""
_LONGEST_CITATION = 500
"""Characters of an answer that is not the store's own."""
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
    }
)
_REFUSING_CODES = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_NOT_ALLOWED = (401, 403, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_ERRORS = (ApiException, QdrantException, grpc.RpcError, httpx.HTTPError, OSError)


class Connection:
    """A Qdrant client that may be used from many threads. Raises UnavailableError when it cannot answer."""

    def __init__(self, url: str, options: VectorOptions, client: QdrantClient, bulk: QdrantClient) -> None:
        self._url = url
        self._options = options
        self._clients = {False: client, True: bulk}
        # By whether it is bulk: a server may be too busy to take points in, and answer searches.
        self._resting = {False: 0.0, True: 0.0}
        # Closed at the end of the program at the latest, while what closing needs is still there.
        self._close = weakref.finalize(self, _close_all, [client, bulk])

    @classmethod
    def open(cls, url: str, options: VectorOptions) -> Connection:
        """Open an http(s) URL, whose server may come up later."""
        # Two clients, as the time that a request over HTTP may take belongs to the client.
        client, bulk = (
            _client_of(url, options, seconds) for seconds in (options.seconds, options.bulk_seconds)
        )
        return cls(url, options, client, bulk)

    def close(self) -> None:
        """Close the connections."""
        self._close()

    def check(self, seconds: float) -> None:
        """Raise UnavailableError unless the server says within this time that it is ready."""
        with _translate_errors():
            url = f"{self._url.rstrip('/')}/readyz"
            httpx.get(url, timeout=seconds, **_http_options(url)).raise_for_status()

    def call(self, operation: Callable[[QdrantClient], T], *, bulk: bool = False) -> T:
        """What an operation of the client returns; it is repeated after failures that may pass."""
        with _translate_errors():
            return self._repeated(operation, bulk=bulk)

    def call_there(
        self, collection: str, operation: Callable[[QdrantClient], T], otherwise: T, *, bulk: bool = False
    ) -> T:
        """The same, or `otherwise` where this collection, or alias of one, is not there."""
        with _translate_errors():
            # Once more: an alias may have been given another collection while this one was asked.
            for _ in range(2):
                try:
                    return self._repeated(operation, bulk=bulk)
                except (UnexpectedResponse, grpc.RpcError) as error:
                    if _status(error) not in (404, grpc.StatusCode.NOT_FOUND):
                        raise
            return otherwise

    def created_meanwhile(self, operation: Callable[[QdrantClient], object]) -> None:
        """Runs what creates a thing; that another has created it in between is as good."""
        with _translate_errors():
            try:
                self._repeated(operation)
            except (UnexpectedResponse, grpc.RpcError) as error:
                status, message = _status(error), str(error).lower()
                # Servers call it a conflict (409), or a bad request where requests cross.
                if "already exists" not in message and status not in (409, grpc.StatusCode.ALREADY_EXISTS):
                    raise

    def _repeated(self, operation: Callable[[QdrantClient], T], *, bulk: bool = False) -> T:
        client = self._clients[bulk]
        began = time.monotonic()
        if began < self._resting[bulk]:
            raise UnavailableError("the vector store does not answer; it is asked again in some seconds")
        end = began + (self._options.bulk_seconds if bulk else self._options.seconds)
        pause = _FIRST_PAUSE
        while True:
            try:
                return operation(client)
            except _ERRORS as error:
                wait = _asked_to_wait(error, pause * random.uniform(0.5, 1.5))
                if not _may_pass(error):
                    raise
                now = time.monotonic()
                if now + wait >= end:
                    self._resting[bulk] = now + min(_REST * (now - began), _LONGEST_REST)
                    raise
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _client_of(url: str, options: VectorOptions, seconds: float) -> QdrantClient:
    return QdrantClient(
        url=url,
        # As a header: given as a key, the client warns of http, which is usual inside a cluster.
        headers={"api-key": options.api_key} if options.api_key else None,
        prefer_grpc=options.prefer_grpc,
        grpc_port=options.grpc_port,
        timeout=max(1, round(seconds)),
        check_compatibility=False,
        grpc_options=grpc_options(urlsplit(url).netloc),
        **_http_options(url),
    )


def _http_options(url: str) -> dict[str, Any]:
    try:
        return http_options(url)
    except BadEnvironmentError as error:
        raise UnavailableError(f"the vector store is not reached: {error}") from error


def _close_all(clients: list[QdrantClient]) -> None:
    for client in clients:
        client.close()


def _status(error: Exception) -> object:
    """The HTTP status or gRPC code of an error that has one."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code
    return error.code() if isinstance(error, grpc.Call) else None


def _may_pass(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse | grpc.Call):
        return _status(error) in _PASSING_STATUSES | _PASSING_CODES and not _is_refusal(error)
    return True


def _is_refusal(error: Exception) -> bool:
    """Whether a server has understood what it was asked and will not do it, however often it is asked.

    Also what asks for more at once than a rate limit ever allows: that is told by words alone.
    """
    if isinstance(error, ResourceExhaustedResponse):
        return False
    status = _status(error)
    if status in (429, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return "larger than" in str(error).lower()
    return status in _REFUSING_CODES or (
        isinstance(status, int) and 400 <= status < 500 and status not in _PASSING_STATUSES | {404}
    )


def _asked_to_wait(error: Exception, otherwise: float) -> float:
    """A server that is asked too much says when to come back."""
    return float(error.retry_after_s) if isinstance(error, ResourceExhaustedResponse) else otherwise


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        machine.raise_machine_error(error, "use the vector store")
        if _status(error) in _NOT_ALLOWED:
            raise UnavailableError(
                "the vector store refuses the API key; set COCU_VECTORS_API_KEY"
            ) from error
        if _is_refusal(error):
            raise RefusedError(
                f"the vector store refuses what it was asked: {_text_of(error)}. Trying again does not help: "
                "look at the limits of the Qdrant server (strict mode), and at the versions of both"
            ) from error
        raise UnavailableError(f"the vector store does not answer: {_text_of(error)}") from error


def _text_of(error: Exception) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    if isinstance(error, UnexpectedResponse):
        return f"{error.status_code} {error.reason_phrase}: {_sentence_of(error.content)}"
    lines = (line for line in str(error).splitlines() if line.strip())
    return next(lines, "") or type(error).__name__


def _sentence_of(content: bytes) -> str:
    """What a server says in an answer; the client cites its beginning and its end alone."""
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, LookupError, TypeError):  # of a proxy, say
        return " ".join(content.decode(errors="replace").split())[:_LONGEST_CITATION]
