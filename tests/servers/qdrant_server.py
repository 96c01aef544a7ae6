"""A stand-in for a Qdrant server: the part of its REST API that the platform uses, over HTTP, as a process.

It is NOT Qdrant: behind the routes is the local mode of qdrant-client, which compares a query with every
point in Python. What it shows is that our requests over HTTP are well formed (they are validated by the
client's own models), that answers, conflicts, missing collections, refused keys and broken connections are
dealt with, and that a store can be lost and made again. It shows nothing of graphs, quantisation, payload
indexes, gRPC or speed. The same tests run against a real server where COCU_TEST_QDRANT_URL names one.

    python -m tests.servers.qdrant_server PORT FOLDER [API_KEY]
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from qdrant_client import QdrantClient, models
from qdrant_client.local.qdrant_local import QdrantLocal
from tests.servers.binaries import free_port

REPOSITORY = Path(__file__).parent.parent.parent


def commit_faster(client: QdrantClient) -> None:
    """Let the local mode commit without waiting for the disk, which it does point by point."""
    local = client._client
    assert isinstance(local, QdrantLocal)
    for collection in local.collections.values():
        if collection.storage is not None:
            collection.storage.storage.execute("PRAGMA journal_mode=WAL")
            collection.storage.storage.execute("PRAGMA synchronous=NORMAL")


class _RefusedError(Exception):
    """The request is answered with this status."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


def application(client: QdrantClient, api_key: str | None = None) -> FastAPI:
    """The API in front of a client in local mode."""
    app = FastAPI(openapi_url=None)
    lock = RLock()

    def there(name: str) -> str:
        if not client.collection_exists(name):
            raise _RefusedError(404, f"Not found: Collection `{name}` doesn't exist!")
        return name

    def answer(call: Callable[[], Any]) -> dict[str, Any]:
        with lock:
            try:
                result = call()
            except ValueError as error:
                raise _RefusedError(409 if "already exists" in str(error) else 400, str(error)) from error
        return {"result": result, "status": "ok", "time": 0.0}

    @app.exception_handler(_RefusedError)
    def refuse(request: Request, error: _RefusedError) -> JSONResponse:
        return JSONResponse({"status": {"error": str(error)}, "time": 0.0}, status_code=error.status)

    @app.middleware("http")
    async def check_key(request: Request, call_next: Any) -> Any:
        if (
            api_key is not None
            and request.url.path != "/readyz"
            and request.headers.get("api-key") != api_key
        ):
            return JSONResponse({"status": {"error": "Must provide an API key"}}, status_code=401)
        return await call_next(request)

    @app.get("/readyz")
    def ready() -> str:
        return "all shards are ready"

    @app.get("/collections")
    def collections() -> Any:
        return answer(client.get_collections)

    @app.get("/aliases")
    def aliases() -> Any:
        return answer(client.get_aliases)

    @app.post("/collections/aliases")
    def change_aliases(body: models.ChangeAliasesOperation) -> Any:
        return answer(lambda: client.update_collection_aliases(body.actions))

    @app.get("/collections/{name}")
    def collection(name: str) -> Any:
        return answer(lambda: client.get_collection(there(name)))

    @app.put("/collections/{name}")
    def create(name: str, body: models.CreateCollection) -> Any:
        assert isinstance(body.vectors, models.VectorParams)
        answered = answer(lambda: client.create_collection(name, vectors_config=body.vectors))
        with lock:
            commit_faster(client)
        return answered

    @app.patch("/collections/{name}")
    def update(name: str, body: models.UpdateCollection) -> Any:
        return answer(lambda: bool(there(name)))

    @app.delete("/collections/{name}")
    def delete(name: str) -> Any:
        return answer(lambda: client.delete_collection(name))

    @app.put("/collections/{name}/index")
    def index(name: str, body: models.CreateFieldIndex) -> Any:
        return answer(lambda: _done(there(name)))

    @app.put("/collections/{name}/points")
    def upsert(name: str, body: models.PointInsertOperations) -> Any:
        points = body.batch if isinstance(body, models.PointsBatch) else body.points
        return answer(lambda: client.upsert(there(name), points))

    @app.post("/collections/{name}/points/query")
    def query(name: str, body: models.QueryRequest) -> Any:
        assert isinstance(body.query, list | models.NearestQuery)
        vector = body.query if isinstance(body.query, list) else body.query.nearest
        return answer(
            lambda: client.query_points(
                there(name),
                query=vector,
                query_filter=body.filter,
                limit=body.limit or 10,
                offset=body.offset or 0,
                with_payload=body.with_payload or False,
            )
        )

    @app.post("/collections/{name}/points/count")
    def count(name: str, body: models.CountRequest) -> Any:
        return answer(lambda: client.count(there(name), body.filter))

    @app.post("/collections/{name}/points/delete")
    def delete_points(name: str, body: models.PointsSelector) -> Any:
        return answer(lambda: client.delete(there(name), body))

    @app.post("/collections/{name}/facet")
    def facet(name: str, body: models.FacetRequest) -> Any:
        limit = body.limit or 10
        return answer(lambda: client.facet(there(name), body.key, facet_filter=body.filter, limit=limit))

    return app


def _done(name: str) -> dict[str, Any]:
    return {"operation_id": 0, "status": "completed"}


class QdrantServer:
    """The process; what it holds outlives it in its folder."""

    def __init__(self, folder: Path, *, api_key: str | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._api_key = api_key
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, also while it is away."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it answers; nothing happens where it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        command = [sys.executable, "-m", "tests.servers.qdrant_server", str(self.port), str(self.folder)]
        command += [self._api_key] if self._api_key else []
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self._process.poll() is None, "the stand-in for Qdrant has ended"
            try:
                httpx.get(f"{self.url}/readyz", timeout=1.0)
            except httpx.HTTPError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the stand-in for Qdrant does not answer")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def lose_everything(self) -> None:
        """Its folder is empty from now on."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.start()

    def client(self) -> QdrantClient:
        """A client of it, to be closed."""
        headers = {"api-key": self._api_key} if self._api_key else None
        return QdrantClient(url=self.url, headers=headers, check_compatibility=False, timeout=10)


@contextmanager
def qdrant_server(folder: Path, *, api_key: str | None = None) -> Iterator[QdrantServer]:
    """A running stand-in that keeps its points in a folder, killed at the end of the block."""
    server = QdrantServer(folder, api_key=api_key)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def main() -> None:
    port, folder, *api_key = sys.argv[1:]
    client = QdrantClient(path=folder, force_disable_check_same_thread=True)
    commit_faster(client)
    # Bound here: uvicorn would wait for connections of before, which a restart has to live with.
    listening = socket.create_server(("127.0.0.1", int(port)))
    app = application(client, api_key[0] if api_key else None)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


if __name__ == "__main__":
    main()
