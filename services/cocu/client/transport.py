"""HTTP in one place: retries, errors from problems, models from answers."""

from __future__ import annotations

import http.client
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar
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
from cocu.client.response_body import HttpxBody, ResponseBody, open_directly
from cocu.proxies import BadEnvironmentError, http_options, proxy_for
from cocu.schemas import Page, Problem

Model = TypeVar("Model", bound=BaseModel)
Params = Mapping[str, str | int | float | bool | Sequence[str] | None]
"""A sequence is one parameter several times."""
CONNECTION_ERRORS = (httpx.TransportError, http.client.HTTPException, OSError)
"""Errors of a broken connection, of httpx and of http.client."""
IDEMPOTENCY_KEY = "Idempotency-Key"
SAFE_PAGE_SIZE = 100
"""A page size that every list of the platform accepts."""
CONNECT_SECONDS = 5.0
LONGEST_PAUSE = 60.0
"""Seconds: a server that names a longer pause counts as down."""


def choose_page_size(limit: int | None, page_size: int | None) -> int | None:
    """The page size to request, None for the platform's default.

    Raises ValueError for a limit below 0 and for a page size below 1.
    """
    if limit is not None and limit < 0:
        raise ValueError(f"limit is {limit}; it is how many items there are at most, or None for all of them")
    if page_size is not None and page_size < 1:
        raise ValueError(f"page_size is {page_size}; a page has at least one item")
    if page_size is None and limit:
        return min(limit, SAFE_PAGE_SIZE)
    return page_size


def segment(text: str) -> str:
    """`text` as one segment of a path, so that slashes, `.`, `..` and every other byte arrive unchanged.

    >>> segment("a/b c.jpg"), segment("..")
    ('a%2Fb%20c.jpg', '%2E%2E')
    """
    if text in {".", ".."}:
        return "%2E" * len(text)
    return quote(text, safe="", errors="surrogatepass")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request; parameters that are None are left out.

    content: returns the body, of `size` bytes; it is called for every attempt. idempotent: a POST with this
    may be repeated as it is; any other POST is sent with an Idempotency-Key, the same for every attempt.
    """

    method: str = "GET"
    path: str
    params: Params = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[], Iterable[bytes]] | None = None
    size: int | None = None
    idempotent: bool = False

    def with_key(self) -> Call:
        """The same call; a POST that is not idempotent gets a key, so that retries are recognised."""
        if self.method != "POST" or self.idempotent:
            return self
        headers = {**self.headers, IDEMPOTENCY_KEY: f'"{secrets.token_hex(16)}"'}
        return replace(self, headers=headers, idempotent=True)

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no harm."""
        return self.idempotent or self.method in {"GET", "HEAD", "PUT", "DELETE"}


def _transport(base_url: str) -> httpx.HTTPTransport:
    try:
        return httpx.HTTPTransport(**http_options(base_url))
    except BadEnvironmentError as error:
        raise ConnectionFailedError(str(error)) from error


class Transport:
    """Sends requests to one platform.

    Requests are retried, with growing pauses, after a connection error and after a 429 or 503 (Retry-After is
    respected); so is a POST while the platform still runs its earlier attempt. PATCH and streamed requests
    are never retried. Raises the errors of `exceptions`.
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
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            # Our own transport: httpx's would read all proxy variables and fail on one for other servers.
            transport=_transport(base_url) if transport is None else transport,
        )
        self.base_url = base_url.rstrip("/")
        self._has_custom_transport = transport is not None
        self._retries = retries
        self._pause = pause

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def get(self, model: type[Model], path: str, *, params: Params | None = None) -> Model:
        """GET a resource."""
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
        """POST a model and parse the answer; fields that the caller did not set are not sent."""
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

    def pages(
        self,
        model: type[Model],
        path: str,
        *,
        params: Params | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Model]:
        """The items of a list, at most `limit`, fetched page by page as they are consumed.

        page_size: the maximum number of items in one answer (`limit` in REST); without it, chosen here.
        Raises ValueError where one of the two is out of range.
        """
        size = choose_page_size(limit, page_size)
        query = {**(params or {}), "limit": size}
        return islice(self._items(model, path, query), limit)

    def _items(self, model: type[Model], path: str, query: dict[str, Any]) -> Iterator[Model]:
        while True:
            page = self.get(Page[model], path, params=query)  # type: ignore[valid-type]
            yield from page.items
            if page.next is None:
                return
            query["cursor"] = page.next

    def send(self, call: Call) -> httpx.Response:
        """Send a request and return its answer, read to the end; raises an error for a problem."""
        call = call.with_key()
        attempts = self._retries + 1 if call.repeatable else 1
        for attempt in range(attempts):
            try:
                return self._send_once(call)
            except (ConnectionFailedError, UnavailableError, ConflictError) as error:
                # A 409 with Retry-After: the platform still runs an earlier attempt with the same key, whose
                # answer was lost. Any other conflict is final.
                final = isinstance(error, ConflictError) and error.retry_after is None
                if final or attempt == attempts - 1:
                    raise
                time.sleep(self._pause_after(attempt, error))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _pause_after(self, attempt: int, error: ConnectionFailedError | ProblemError) -> float:
        retry_after = error.retry_after if isinstance(error, ProblemError) else None
        if retry_after is None:
            # With a random factor, so that many clients do not come back at the same moment.
            return min(self._pause * float(2**attempt), 5.0) * random.uniform(0.8, 1.2)
        if retry_after > LONGEST_PAUSE:
            raise error
        return retry_after

    def _send_once(self, call: Call) -> httpx.Response:
        with self.stream(call) as answer:
            try:
                answer.read()
            except httpx.TransportError as error:
                raise self._not_reached(error) from error
            return answer

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx.Response]:
        """Send a request once; the caller reads the answer's body inside the context."""
        with self._answer(self._request(call)) as answer:
            yield answer

    @contextmanager
    def receive(self, call: Call) -> Iterator[ResponseBody]:
        """Send a request without a body once; the caller reads the answer's body into its own memory.

        Reading raises one of CONNECTION_ERRORS when the connection breaks.
        """
        request = self._request(call)
        if self._has_custom_transport or proxy_for(str(request.url)) is not None:
            with self._answer(request) as answer:
                yield HttpxBody(answer)
            return
        timeout = self._http.timeout
        with ExitStack() as stack:
            try:
                response = stack.enter_context(
                    open_directly(request, connect=timeout.connect, read=timeout.read)
                )
                if response.status >= 400:
                    answer = httpx.Response(
                        response.status,
                        headers=response.getheaders(),
                        content=response.read(),
                        request=request,
                    )
                    raise self._problem(answer)
            except CONNECTION_ERRORS as error:
                raise self._not_reached(error) from error
            yield response

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

    def resolve(self, answer: httpx.Response, reference: str) -> str:
        """The absolute URL of a reference in an answer, which may be relative to the request's URL.

        Raises UnexpectedAnswerError for a URL of another server, which must not get the key or the data.
        """
        url = answer.url.join(reference)
        if (url.scheme, url.netloc) != (answer.url.scheme, answer.url.netloc):
            raise UnexpectedAnswerError(
                f"{answer.request.method} {answer.url} points to another server, {url}; is a proxy between "
                "that rewrites what the platform answers?"
            )
        return str(url)

    def parse(self, model: type[Model], answer: httpx.Response) -> Model:
        """The answer as a model with absolute links; raises UnexpectedAnswerError where it does not fit."""
        try:
            return model.model_validate_json(answer.content, context={"url": str(answer.url)})
        except ValidationError as error:
            raise UnexpectedAnswerError(
                f"{answer.request.method} {answer.request.url} answered something else than {model.__name__} "
                f"({error.error_count()} fields do not fit); are client and server of the same version?"
            ) from error
