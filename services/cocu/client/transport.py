"""One place that speaks HTTP: retries, problems turned into errors, answers turned into models."""

from __future__ import annotations

import http.client
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from cocu.client.exceptions import (
    ConflictError,
    ConnectionFailedError,
    ProblemError,
    UnavailableError,
    UnexpectedAnswerError,
    problem_error,
)
from cocu.client.models import Page, Problem
from cocu.client.receiving import Pieces, Receiver, direct, is_direct

Model = TypeVar("Model", bound=BaseModel)
Params = Mapping[str, str | int | float | bool | None]
RECEIVING_FAILED = (httpx.TransportError, http.client.HTTPException, OSError)
"""How a connection breaks off, whoever speaks HTTP on it."""
IDEMPOTENCY_KEY = "Idempotency-Key"
LONGEST_PAUSE = 60.0
"""Seconds: a server that asks for a longer pause is treated as down."""


def segment(text: str) -> str:
    """`text` as one segment of a path: slashes, dots alone and every other byte survive the way.

    >>> segment("a/b c.jpg"), segment("..")
    ('a%2Fb%20c.jpg', '%2E%2E')
    """
    if text in {".", ".."}:
        return "%2E" * len(text)
    return quote(text, safe="", errors="surrogatepass")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request; parameters that are None are left out.

    content makes the body, of `size` bytes, anew for every attempt. idempotent: whether a POST may be
    repeated as it is; any other is sent with an Idempotency-Key, the same at every attempt.
    """

    method: str = "GET"
    path: str
    params: Params = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[], Iterable[bytes]] | None = None
    size: int | None = None
    idempotent: bool = False

    def keyed(self) -> Call:
        """The same call, with a key by which the platform knows its attempts as one, where it needs one."""
        if self.method != "POST" or self.idempotent:
            return self
        headers = {**self.headers, IDEMPOTENCY_KEY: f'"{secrets.token_hex(16)}"'}
        return replace(self, headers=headers, idempotent=True)

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no harm."""
        return self.idempotent or self.method in {"GET", "HEAD", "PUT", "DELETE"}


class Transport:
    """Sends requests to one platform.

    Requests are repeated, with growing pauses, after a connection error and after a 503 (its Retry-After is
    honoured), as is a POST of which an attempt is still being carried out; all but PATCH and what is
    streamed. Raises the errors of `exceptions`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        pause: float = 0.2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Accept": "application/json, application/problem+json"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"),
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=5.0),
            transport=transport,
        )
        self.base_url = base_url.rstrip("/")
        self._own_transport = transport is not None
        self._retries = retries
        self._pause = pause

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def get(self, model: type[Model], path: str, *, params: Params | None = None) -> Model:
        """GET one thing."""
        return self.parse(model, self.send(Call(path=path, params=params or {})))

    def post(
        self,
        model: type[Model],
        path: str,
        body: BaseModel,
        *,
        params: Params | None = None,
        idempotent: bool = False,
    ) -> Model:
        """POST a model, parse the answer; fields left out by the caller are left out on the wire."""
        content = body.model_dump_json(exclude_unset=True, by_alias=True).encode()
        call = Call(
            method="POST",
            path=path,
            params=params or {},
            headers={"Content-Type": "application/json"},
            content=lambda: [content],
            size=len(content),
            idempotent=idempotent,
        )
        return self.parse(model, self.send(call))

    def pages(self, model: type[Model], path: str, *, params: Params | None = None) -> Iterator[Model]:
        """Every item of a list, fetched page by page as it is consumed."""
        query = dict(params or {})
        while True:
            page = self.get(Page[model], path, params=query)  # type: ignore[valid-type]
            yield from page.items
            if page.next is None:
                return
            query["cursor"] = page.next

    def send(self, call: Call) -> httpx.Response:
        """Send a request and return its answer, read to the end; raises the problem it answers."""
        call = call.keyed()
        attempts = self._retries + 1 if call.repeatable else 1
        for attempt in range(attempts):
            try:
                return self._send_once(call)
            except (ConnectionFailedError, UnavailableError, ConflictError) as error:
                final = isinstance(error, ConflictError) and error.retry_after is None
                if final or attempt == attempts - 1:
                    raise
                time.sleep(self._pause_after(attempt, error))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _pause_after(self, attempt: int, error: ConnectionFailedError | ProblemError) -> float:
        asked = error.retry_after if isinstance(error, ProblemError) else None
        if asked is None:
            return min(self._pause * float(2**attempt), 5.0) * random.uniform(0.8, 1.2)
        if asked > LONGEST_PAUSE:
            raise error
        return asked

    def _send_once(self, call: Call) -> httpx.Response:
        with self.stream(call) as answer:
            try:
                answer.read()
            except httpx.TransportError as error:
                raise self._not_reached(error) from error
            return answer

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx.Response]:
        """Send a request once; the answer's body is for the caller to read while the context lasts."""
        with self._answer(self._request(call)) as answer:
            yield answer

    @contextmanager
    def receive(self, call: Call) -> Iterator[Receiver]:
        """Send a request without a body once; its answer is received into memory of the caller's.

        What goes wrong while receiving is one of RECEIVING_FAILED.
        """
        request = self._request(call)
        if self._own_transport or not is_direct(request.url):
            with self._answer(request) as answer:
                yield Pieces(answer)
            return
        timeout = self._http.timeout
        with ExitStack() as stack:
            try:
                received = stack.enter_context(direct(request, connect=timeout.connect, read=timeout.read))
                if received.status >= 400:
                    read = httpx.Response(
                        received.status,
                        headers=received.getheaders(),
                        content=received.read(),
                        request=request,
                    )
                    raise self._problem(read)
            except RECEIVING_FAILED as error:
                raise self._not_reached(error) from error
            yield received

    def _request(self, call: Call) -> httpx.Request:
        return self._http.build_request(
            call.method,
            call.path,
            params={name: value for name, value in call.params.items() if value is not None},
            content=call.content() if call.content is not None else None,
            headers=call.headers if call.size is None else {**call.headers, "Content-Length": str(call.size)},
        )

    @contextmanager
    def _answer(self, request: httpx.Request) -> Iterator[httpx.Response]:
        try:
            answer = self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise self._not_reached(error) from error
        try:
            if answer.status_code >= 400:
                raise self._problem(answer)
            yield answer
        finally:
            answer.close()

    def _not_reached(self, error: Exception) -> ConnectionFailedError:
        reason = str(error) or type(error).__name__
        return ConnectionFailedError(
            f"no answer from {self.base_url} ({reason}); is the platform running there?"
        )

    def _problem(self, answer: httpx.Response) -> ProblemError | UnexpectedAnswerError:
        try:
            problem = Problem.model_validate_json(answer.read())
        except httpx.TransportError as error:
            raise self._not_reached(error) from error
        except ValidationError:
            if answer.status_code == 503:
                problem = Problem(type="about:blank", title="Service unavailable", status=503)
            else:
                return UnexpectedAnswerError(
                    f"{answer.request.method} {answer.request.url} answered {answer.status_code} without a "
                    f"problem document; is {self.base_url} a cocu platform?"
                )
        raised = problem_error(problem)
        wait = answer.headers.get("Retry-After", "")
        if wait.isascii() and wait.isdigit():
            raised.retry_after = float(wait)
        return raised

    def parse(self, model: type[Model], answer: httpx.Response) -> Model:
        """The answer as a model; raises UnexpectedAnswerError where it is not one."""
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            raise UnexpectedAnswerError(
                f"{answer.request.method} {answer.request.url} answered something else than {model.__name__} "
                f"({error.error_count()} fields do not fit); are client and server of the same version?"
            ) from error
