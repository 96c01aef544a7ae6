"""The connection to Qdrant: opened, asked again after a passing failure, its errors in our words.

Failures that may pass (no connection, no answer in time, a server that is overloaded or restarts) are tried
again while less than `seconds` have gone by (`bulk_seconds` for loads of points); as one attempt takes that
long at most, no call takes more than twice the time. Whoever comes in the seconds after that is refused at
once, so that a silent server costs neither the API its threads nor the workers their time. Every write is
idempotent, so that a repeated one does no harm.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc  # type: ignore[import-untyped]
import httpx
import portalocker
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse
from qdrant_client.local.local_collection import LocalCollection
from qdrant_client.local.qdrant_local import QdrantLocal

from cocu.errors import UnavailableError

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_LONGEST_REST = 10.0
_REST = 2.0
"""How long a server is left alone after a failure, for each second that was lost to it."""
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
_REFUSALS = (401, 403, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_ERRORS = (ApiException, QdrantException, grpc.RpcError, httpx.HTTPError, sqlite3.Error, OSError)


@dataclass(frozen=True)
class VectorOptions:
    """How a Qdrant server is spoken to, and how collections are made there; nothing of it concerns a folder.

    prefer_grpc: vectors go over gRPC (`grpc_port`), about half as many bytes as JSON.
    seconds: how long one request may take that somebody waits for.
    bulk_seconds: how long a request may take that writes many points.
    upserts_at_once: batches that one call sends side by side.
    quantised: one byte a number in memory, from which what is found is ranked by the stored halves.
    on_disk: the vectors themselves are mapped from disk instead of held in memory.
    replicas: copies of every point in a cluster; a write is done when most of them have it.
    """

    api_key: str | None = None
    prefer_grpc: bool = True
    grpc_port: int = 6334
    seconds: float = 5.0
    bulk_seconds: float = 30.0
    upserts_at_once: int = 4
    quantised: bool = True
    on_disk: bool = True
    replicas: int = 1


class Connection:
    """A Qdrant client that may be used from many threads. Raises UnavailableError when it cannot answer."""

    def __init__(
        self,
        client: QdrantClient,
        options: VectorOptions,
        *,
        bulk: QdrantClient | None = None,
        url: str | None = None,
    ) -> None:
        self.client = client
        self._url = url
        self.options = options
        self.is_local = bulk is None
        self._bulk = bulk or client
        # By whether it is bulk: a server may be too busy to take points in, and answer searches.
        self._resting = {True: 0.0, False: 0.0}
        # The in-process client is not made for threads; a server takes care of itself.
        self._lock: AbstractContextManager[object] = threading.RLock() if self.is_local else nullcontext()
        # Closed at the end of the program at the latest, while what closing needs is still there.
        self._close = weakref.finalize(self, _close_all, {client, self._bulk})

    @classmethod
    def open(cls, location: str, options: VectorOptions) -> Connection:
        """Open a folder (created if need be), ":memory:" or an http(s) URL, whose server may come up later.

        Raises UnavailableError when another process holds the folder.
        """
        if location.startswith(("http://", "https://")):
            # Two, as the time that a request over HTTP may take belongs to the client.
            first, second = (
                _client_of(location, options, seconds) for seconds in (options.seconds, options.bulk_seconds)
            )
            return cls(first, options, bulk=second, url=location)
        _forgo_advice()
        if location == ":memory:":
            return cls(QdrantClient(location), options)
        folder = Path(location.removeprefix("file://")).expanduser().absolute()
        with _translated(f"the vectors in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            client = _open_folder(folder)
        return cls(client, options)

    def close(self) -> None:
        """Release the folder or the connection."""
        with self._lock:
            self._close()

    def check(self, seconds: float) -> None:
        """Raises UnavailableError unless a server says within this time that it is ready."""
        if self._url is None:
            return
        with _translated("the vector store"):
            httpx.get(f"{self._url.rstrip('/')}/readyz", timeout=seconds).raise_for_status()

    def call(self, operation: Callable[[QdrantClient], T], *, bulk: bool = False) -> T:
        """What an operation of the client returns; it is repeated after failures that may pass."""
        with self._lock, _translated("the vector store"):
            return self._repeated(operation, bulk=bulk)

    def call_there(
        self, collection: str, operation: Callable[[QdrantClient], T], otherwise: T, *, bulk: bool = False
    ) -> T:
        """The same, or `otherwise` where this collection, or alias of one, is not there."""
        with self._lock, _translated("the vector store"):
            if self.is_local:
                return operation(self.client) if self.client.collection_exists(collection) else otherwise
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
        with self._lock, _translated("the vector store"):
            try:
                self._repeated(operation)
            except (UnexpectedResponse, grpc.RpcError) as error:
                status, said = _status(error), str(error).lower()
                # Servers call it a conflict (409), or a bad request where requests cross.
                if "already exists" not in said and status not in (409, grpc.StatusCode.ALREADY_EXISTS):
                    raise

    def _repeated(self, operation: Callable[[QdrantClient], T], *, bulk: bool = False) -> T:
        if self.is_local:
            return operation(self.client)
        client = self._bulk if bulk else self.client
        began = time.monotonic()
        if began < self._resting[bulk]:
            raise UnavailableError("the vector store does not answer; it is asked again in some seconds")
        end = began + (self.options.bulk_seconds if bulk else self.options.seconds)
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
    )


def _close_all(clients: set[QdrantClient]) -> None:
    for client in clients:
        client.close()


def commit_faster(client: QdrantClient) -> None:
    """Let the in-process store commit without waiting for the disk: it commits point by point, and is a copy.

    With a write-ahead log, a crash or power cut costs the last commits but leaves the file sound.
    """
    local = client._client
    assert isinstance(local, QdrantLocal)
    for collection in local.collections.values():
        if collection.storage is not None:
            collection.storage.storage.execute("PRAGMA journal_mode=WAL")
            collection.storage.storage.execute("PRAGMA synchronous=NORMAL")


def _status(error: Exception) -> object:
    """The HTTP status or gRPC code of an error that has one."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code
    return error.code() if isinstance(error, grpc.Call) else None


def _may_pass(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse | grpc.Call):
        return _status(error) in _PASSING_STATUSES | _PASSING_CODES
    return not isinstance(error, sqlite3.Error)


def _asked_to_wait(error: Exception, otherwise: float) -> float:
    """A server that is asked too much says when to come back."""
    return float(error.retry_after_s) if isinstance(error, ResourceExhaustedResponse) else otherwise


def _forgo_advice() -> None:
    """Keep the in-process client from warning beyond 20,000 points: it is slow there, not wrong."""
    LocalCollection.LARGE_DATA_THRESHOLD = sys.maxsize
    QdrantLocal.LARGE_DATA_THRESHOLD = sys.maxsize


def _open_folder(folder: Path) -> QdrantClient:
    """Open a folder that one process at a time may use; UnavailableError with advice if another does."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Before anything is loaded; the client, when it is refused, would leave its lock file open.
        with (folder / ".lock").open("a+") as lock:
            portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            portalocker.unlock(lock)
        client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
    except (portalocker.LockException, RuntimeError) as error:
        raise UnavailableError(
            f"the vectors in {folder} are in use by another process; stop it, choose another folder, or use "
            "the http:// address of a Qdrant server, which serves many processes"
        ) from error
    commit_faster(client)
    return client


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        if _status(error) in _REFUSALS:
            raise UnavailableError(f"{what} refuses the API key; set COCU_VECTORS_API_KEY") from error
        raise UnavailableError(f"{what} does not answer: {_said(error)}") from error


def _said(error: Exception) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    # A response is cited on the last line, after its status.
    said = " ".join(lines) if isinstance(error, UnexpectedResponse) else next(iter(lines), "")
    return said or type(error).__name__
