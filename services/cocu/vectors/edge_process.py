"""The process that holds a folder of vectors: `python -m cocu.vectors.edge_process FOLDER DESCRIPTOR`.

Qdrant Edge keeps Python's lock for as long as a call takes: a search some milliseconds, a graph minutes. In
the API's process these would be pauses for everybody. So the engine has a process of its own, which answers
one request after the other over a socket, and graphs are built in another one (`edge_graph`), on a copy.

    FOLDER/samples-<encoder>/meta.json         {"dimensions": D, "generation": "first"}
    FOLDER/samples-<encoder>/<generation>/<owner>/…   see `edge_shard`

Every owner (a dataset of a tenant) has a shard of the engine to itself: nobody's request can reach another's
points, a graph is over one dataset alone, and a deleted dataset is a deleted folder.

The process ends when the other end of the socket is closed, also by a crash of the process there.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.vectors.backend import INDEXED
from cocu.vectors.edge_graph import GraphBuild
from cocu.vectors.edge_shard import Conditions, DamagedError, OwnerShard

OPEN_SHARDS = 64
"""Shards held open; for another, the one used longest ago is closed."""
FLUSH_SECONDS = 0.5
"""How long nothing was written to a shard before it is flushed."""
FLUSH_POINTS = 16_384
"""Points written to a shard after which it is flushed in any case."""
GRAPH_POINTS = 20_000
"""Points without a graph from which on one is built: fewer are compared one by one in some milliseconds."""
GRAPH_SECONDS = 20.0
"""How long nothing was written to a shard before its graph is built."""
TAKE_OVER_SECONDS = 10.0
"""How long the process of a platform that has died may take to let go of the folder."""


def _is_much(without: int, points: int) -> bool:
    """Whether a graph is built for so many points that are in none."""
    return without >= GRAPH_POINTS and 5 * without >= points


class Store:
    """The collections of a folder. The methods without an underscore are what may be asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: OrderedDict[Path, OwnerShard] = OrderedDict()
        self._build: GraphBuild | None = None
        self._unbuildable: set[Path] = set()
        self._lost: list[str] = []
        for path in folder.glob("*.deleted"):
            shutil.rmtree(path, ignore_errors=True)

    def ensure(self, collection: str, dimensions: int) -> int:
        """Create a collection, unless it is there; its dimensions."""
        meta = self._meta(collection)
        if meta is None:
            meta = {"dimensions": dimensions, "generation": "first"}
            (self._folder / collection / "first").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write_meta(collection, meta)
        return int(meta["dimensions"])

    def generations(self, collection: str) -> list[str]:
        """The generations of a collection."""
        if self._meta(collection) is None:
            return []
        return sorted(path.name for path in (self._folder / collection).iterdir() if path.is_dir())

    def begin(self, collection: str, dimensions: int) -> str:
        """Create an empty generation; its name."""
        self.ensure(collection, dimensions)
        generation = secrets.token_hex(6)
        (self._folder / collection / generation).mkdir(mode=0o700)
        return generation

    def switch(self, collection: str, generation: str) -> None:
        """Let a generation be the one in use, and delete all others."""
        meta = self._meta(collection) or {}
        self._write_meta(collection, meta | {"generation": generation})
        for other in self.generations(collection):
            if other != generation:
                self.drop(collection, other)

    def drop(self, collection: str, generation: str) -> None:
        """Delete a generation; a collection without the one in use is no more."""
        meta = self._meta(collection)
        if meta is not None and meta["generation"] == generation:
            (self._folder / collection / "meta.json").unlink()
        self._delete(self._folder / collection / generation)

    def upsert(
        self,
        collection: str,
        generation: str | None,
        owner: str,
        ids: list[str],
        vectors_ND: NDArray[np.float32],
        payloads: list[dict[str, Any]],
    ) -> None:
        """Insert or replace points."""
        shard = self._shard(collection, generation, owner, create=True)
        if shard is not None:
            shard.upsert(list(zip(ids, vectors_ND, payloads, strict=True)))
            self._unbuildable.discard(shard.folder)
            if shard.unflushed >= FLUSH_POINTS:
                shard.flush()

    def search(
        self,
        collection: str,
        owner: str,
        vector: Any,
        conditions: Conditions,
        limit: int,
        offset: int,
        fields: list[str],
    ) -> list[tuple[float, dict[str, Any]]]:
        """(cosine, payload) of the nearest points."""
        shard = self._shard(collection, None, owner)
        return [] if shard is None else shard.search(vector, conditions, limit, offset, fields)

    def count(self, collection: str, owner: str, conditions: Conditions) -> int:
        """How many points satisfy all conditions."""
        shard = self._shard(collection, None, owner)
        return 0 if shard is None else shard.count(conditions)

    def facet(
        self, collection: str, owner: str, name: str, conditions: Conditions, limit: int
    ) -> dict[int, int]:
        """How many of them hold each number of a field."""
        shard = self._shard(collection, None, owner)
        return {} if shard is None else shard.facet(name, conditions, limit)

    def delete_owner(self, kind: str, owner: str) -> None:
        """Delete an owner's points in every collection of a kind."""
        for folder in self._folder.glob(f"{kind}-*/*/{owner}"):
            self._delete(folder)

    def graphs(self) -> bool:
        """Whether every open shard has the graphs that it should have; for tests and benchmarks."""
        return self._build is None and not any(self._wants_graph(shard) for shard in self._shards.values())

    def lose(self, collection: str, generation: str | None, owner: str, said: str) -> None:
        """Delete a shard that cannot be used, unread: reading it may be what ends this process."""
        meta = self._meta(collection)
        if meta is not None:
            folder = self._folder / collection / (generation or meta["generation"]) / owner
            self._lose(DamagedError(folder, said))

    def answer(self, name: str, arguments: tuple[Any, ...]) -> tuple[str, Any, list[str]]:
        """("done" or the name of an error, what was asked for or the error's text, shards that were lost)."""
        try:
            try:
                answer = "done", getattr(self, name)(*arguments)
            except DamagedError as error:
                if self._is_readable(error.folder):
                    answer = "refused", str(error)
                else:
                    # Made anew and empty; the platform puts in again what it held.
                    self._lose(error)
                    answer = "done", getattr(self, name)(*arguments)
        except DamagedError as error:
            answer = "refused", str(error)
        except OSError as error:
            answer = "machine", str(error)
        lost, self._lost = self._lost, []
        return *answer, lost

    def work(self) -> bool:
        """Do a little of what is to be done while nobody asks; whether there may be more to do."""
        now = time.monotonic()
        for shard in list(self._shards.values()):
            if shard.unflushed and now - shard.last_write > FLUSH_SECONDS:
                self._guarded(shard.flush)
                return True
        if self._build is not None:
            return self._step()
        for shard in self._shards.values():
            if now - shard.last_write > GRAPH_SECONDS and self._wants_graph(shard):
                dimensions, indexed = self._form(shard.folder)
                self._build = GraphBuild(shard, dimensions, indexed)
                return True
        return False

    @property
    def waits_for(self) -> list[Connection]:
        """What becomes readable when `work` can go on."""
        return [] if self._build is None else self._build.waits_for

    def close(self) -> None:
        """Close everything; a graph that is being built is given up."""
        self._end_build()
        for shard in self._shards.values():
            with suppress(DamagedError, OSError):
                shard.close()

    def _step(self) -> bool:
        build = self._build
        assert build is not None
        if _is_much(build.outside, build.shard.without_graph()[1]):
            # It would be built again at once. It is begun anew when no more is written.
            self._end_build()
            return True
        try:
            if build.step():
                self._build = None
        except (EOFError, OSError, DamagedError) as error:
            # Searches go on without a graph. It is tried again when more was written, or after a start.
            print(f"no graph was built of {build.shard.folder}: {error}", file=sys.stderr, flush=True)
            self._unbuildable.add(build.shard.folder)
            self._end_build()
        return self._build is None or not self._build.waits_for

    def _wants_graph(self, shard: OwnerShard) -> bool:
        if shard.folder in self._unbuildable:
            return False
        return _is_much(*shard.without_graph())

    def _end_build(self) -> None:
        if self._build is not None:
            self._build.end()
            self._build = None

    def _shard(
        self, collection: str, generation: str | None, owner: str, *, create: bool = False
    ) -> OwnerShard | None:
        meta = self._meta(collection)
        if meta is None:
            return None
        folder = self._folder / collection / (generation or meta["generation"]) / owner
        if folder in self._shards:
            self._shards.move_to_end(folder)
            return self._shards[folder]
        if not create and not (folder / "current").exists():
            return None
        while len(self._shards) >= OPEN_SHARDS:
            self._close(next(iter(self._shards)))
        self._shards[folder] = shard = OwnerShard(folder, *self._form(folder))
        return shard

    def _is_readable(self, folder: Path) -> bool:
        """Whether a shard of which a call failed can be read: then the call is at fault, not the files."""
        shard = self._shards.get(folder)
        return shard is not None and shard.is_readable()

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except DamagedError as error:
            self._lose(error)

    def _lose(self, error: DamagedError) -> None:
        self._lost.append(f"{error.folder}: {error}")
        self._delete(error.folder)

    def _form(self, folder: Path) -> tuple[int, tuple[str, ...]]:
        collection = folder.parent.parent.name
        meta = self._meta(collection)
        assert meta is not None
        return int(meta["dimensions"]), INDEXED[collection.partition("-")[0]]

    def _close(self, folder: Path) -> None:
        shard = self._shards.pop(folder)
        if self._build is not None and self._build.shard is shard:
            self._end_build()
        self._guarded(shard.close)

    def _delete(self, folder: Path) -> None:
        """Delete a shard, or all below a generation: out of the way at once, from the disk afterwards."""
        for inner in [path for path in self._shards if path == folder or folder in path.parents]:
            self._unbuildable.discard(inner)
            shard = self._shards.pop(inner)
            if self._build is not None and self._build.shard is shard:
                self._end_build()
        if folder.exists():
            away = self._folder / f"{secrets.token_hex(6)}.deleted"
            folder.rename(away)
            shutil.rmtree(away, ignore_errors=True)

    def _meta(self, collection: str) -> dict[str, Any] | None:
        folder = self._folder / collection
        try:
            meta = json.loads((folder / "meta.json").read_bytes())
            return {"dimensions": int(meta["dimensions"]), "generation": str(meta["generation"])}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            self._lose(DamagedError(folder, f"meta.json says nothing that can be read ({error})"))
            return None

    def _write_meta(self, collection: str, meta: dict[str, Any]) -> None:
        path = self._folder / collection / "meta.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(meta))
        temporary.replace(path)


def hold(folder: Path) -> int | None:
    """The descriptor of the folder's lock, which names the process it is held for; None where it is in use.

    A process that was killed leaves its store behind for a moment: that one is waited for.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + TAKE_OVER_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            if not holder.isdecimal() or _lives(int(holder)) or time.monotonic() > end:
                os.close(descriptor)
                return None
            time.sleep(0.05)
            continue
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getppid()).encode(), 0)
        return descriptor


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(folder: str, descriptor: str) -> None:
    """Answer requests until the other end is closed."""
    # The platform decides when this ends, also after Ctrl-C in a terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(int(descriptor)) as connection, suppress(BrokenPipeError, ConnectionResetError):
        lock = hold(Path(folder))
        if lock is None:
            connection.send("in use")
            return
        store = Store(Path(folder))
        connection.send("open")
        busy = False
        try:
            while True:
                # Requests come first; a builder that is ready for more wakes this up, too.
                ready = wait([connection, *store.waits_for], 0 if busy else FLUSH_SECONDS)
                if connection not in ready:
                    busy = store.work()
                    continue
                try:
                    name, arguments = connection.recv()
                except EOFError:
                    return
                connection.send(store.answer(name, arguments))
                busy = True
        finally:
            store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
