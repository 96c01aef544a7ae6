"""Vectors in a folder: Qdrant Edge in a process of its own (`edge_process`), asked over a socket."""

from __future__ import annotations

import atexit
import errno
import logging
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from cocu import machine
from cocu.errors import ConflictError, RefusedError, UnavailableError
from cocu.storage.permissions import make_private_folder
from cocu.vectors.backend import Condition, Match, Owner, Points
from cocu.vectors.identifiers import folder_name
from cocu.vectors.process import connected_child

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 30.0
"""How long the process may take to flush when it is told to end."""
_OF_ONE_SHARD = {"upsert": 2, "search": 1, "count": 1, "facet": 1}
"""Requests about the points of one owner, and which argument names it."""
_ROOM_BYTES = 1 << 20
"""With less room than this a process that has died is taken to have died of that."""
_OF_LOCAL_MODE = ("meta.json", "collection")
"""What an earlier version of the platform left in the folder: another engine's files."""


class EdgeStore:
    """A `Backend` on a folder, which one process at a time may use. Safe to use from many threads."""

    is_local = True
    batch = 512
    batches_at_once = 2  # one is written, the next is made ready

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closed = False
        self.lost = 0

    @classmethod
    def open(cls, folder: Path) -> EdgeStore:
        """Open a folder, created if need be.

        Raises UnavailableError where another process holds it, MachineError where it is another user's.
        """
        with machine.translate_errors(f"use the vectors in {folder}", file=folder):
            make_private_folder(folder, marks=(".lock", *_OF_LOCAL_MODE))
        store = cls(folder)
        with store._lock:
            store._start()
        store._delete_local_mode()
        return store

    @classmethod
    def in_memory(cls) -> EdgeStore:
        """A store in a temporary folder, which is deleted when the store is closed."""
        folder = Path(tempfile.mkdtemp(prefix="cocu-vectors-"))
        store = cls.open(folder)
        store._temporary = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return store

    _temporary: Path | None = None

    def close(self) -> None:
        """End the process when it has written out everything."""
        with self._lock:
            self._closed = True
            self._stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def check(self, seconds: float) -> None:
        """A folder answers as long as its process can be started."""
        if self._process is None or self._process.poll() is not None:
            self._ask("generations", "")

    def ensure(self, collection: str, dimensions: int) -> None:
        """See `Backend`."""
        stored_dimensions = self._ask("ensure", collection, dimensions)
        if stored_dimensions != dimensions:
            raise ConflictError(
                f"the vectors of {collection} have {stored_dimensions} dimensions, not {dimensions}"
            )

    def generations(self, collection: str) -> list[str]:
        """See `Backend`."""
        return list(self._ask("generations", collection))

    def begin(self, collection: str, dimensions: int) -> str:
        """See `Backend`."""
        return str(self._ask("begin", collection, dimensions))

    def switch(self, collection: str, generation: str) -> bool:
        """See `Backend`. Graphs are built afterwards, beside everything else."""
        self._ask("switch", collection, generation)
        return True

    def drop(self, collection: str, generation: str) -> None:
        """See `Backend`."""
        self._ask("drop", collection, generation)

    def upsert(self, collection: str, owner: Owner, points: Points, generation: str | None = None) -> None:
        """See `Backend`."""
        vectors_ND = np.ascontiguousarray(points.vectors_ND, np.float32)
        shard = folder_name(*owner)
        self._ask("upsert", collection, generation, shard, points.ids, vectors_ND, points.payloads)

    def search(
        self,
        collection: str,
        owner: Owner,
        vector_D: NDArray[np.float32],
        conditions: Sequence[Condition],
        *,
        limit: int,
        offset: int,
        fields: Sequence[str],
    ) -> list[Match]:
        """See `Backend`."""
        matches = self._ask(
            "search",
            collection,
            folder_name(*owner),
            np.asarray(vector_D, np.float32),
            _plain(conditions),
            limit,
            offset,
            [*fields],
        )
        return [Match(score, payload) for score, payload in matches]

    def count(self, collection: str, owner: Owner, conditions: Sequence[Condition] = ()) -> int:
        """See `Backend`."""
        return int(self._ask("count", collection, folder_name(*owner), _plain(conditions)))

    def facet(
        self, collection: str, owner: Owner, name: str, conditions: Sequence[Condition], *, limit: int
    ) -> dict[int, int]:
        """See `Backend`."""
        return dict(self._ask("facet", collection, folder_name(*owner), name, _plain(conditions), limit))

    def delete_owner(self, kind: str, owner: Owner) -> None:
        """See `Backend`."""
        self._ask("delete_owner", kind, folder_name(*owner))

    def has_graphs(self) -> bool:
        """Whether every shard in use has its graph; for benchmarks and tests."""
        return bool(self._ask("graphs"))

    def _ask(self, name: str, *arguments: Any) -> Any:
        """What a method of the process returns. It is started again, and asked again, where it has died.

        Everything that is asked may be done twice.
        """
        with self._lock:
            try:
                answer = self._exchange(name, arguments)
            except (EOFError, OSError) as error:
                status = self._stop()
                self._require_room(error)
                logger.warning(
                    "the process of the vectors in %s has ended (status %s); it is started again",
                    self._folder,
                    status,
                )
                try:
                    answer = self._exchange(name, arguments)
                except (EOFError, OSError) as error:
                    self._require_room(error)
                    self._give_up(name, arguments, self._stop(), error)
            state, value, lost = answer
            for message in lost:
                self.lost += 1
                logger.warning("vectors could not be read and are made again from the files: %s", message)
        if state == "machine":
            refused = OSError(value)
            machine.raise_machine_error(refused, "use the vector store", file=self._folder)
            raise UnavailableError(
                f"the vector store in {self._folder} does not answer: {value}"
            ) from refused
        if state == "refused":
            raise RefusedError(f"the vector store refuses to {name}: {value}")
        return value

    def _require_room(self, error: Exception) -> None:
        """Raise NoRoomError where the disk is full: the engine writes through mappings, and dies of that."""
        if shutil.disk_usage(self._folder).free < _ROOM_BYTES:
            self._stop()
            full = OSError(errno.ENOSPC, "no space left on the disk", str(self._folder))
            machine.raise_machine_error(full, "write to the vector store", file=self._folder)
            raise error

    def _give_up(
        self, name: str, arguments: tuple[Any, ...], status: int | None, error: Exception
    ) -> NoReturn:
        """Delete the points that the process cannot be asked about without ending, and raise.

        Reading a file that was cut off can end a process, and would again.
        """
        what = f"the process of the vectors in {self._folder} ended twice (status {status}) when it was asked"
        if name in _OF_ONE_SHARD:
            collection, owner = arguments[0], arguments[_OF_ONE_SHARD[name]]
            generation = arguments[1] if name == "upsert" else None
            try:
                _, _, lost = self._exchange("lose", (collection, generation, owner, what))
            except (EOFError, OSError) as again:
                # Something else ends it, so nothing is deleted: whoever asks next finds out.
                self._stop()
                raise UnavailableError(f"{what}, and once more when it was started again") from again
            self.lost += len(lost)
            logger.warning("vectors could not be read and are made again from the files: %s", lost)
            raise UnavailableError(f"{what}; what it was asked about is made again from the files") from error
        raise UnavailableError(
            f"{what}. They are a copy: stop the platform, delete the folder, start it again"
        ) from error

    def _exchange(self, name: str, arguments: tuple[Any, ...]) -> tuple[str, Any, list[str]]:
        if self._connection is None:
            self._start()
        assert self._connection is not None
        self._connection.send((name, arguments))
        answer: tuple[str, Any, list[str]] = self._connection.recv()
        return answer

    def _start(self) -> None:
        if self._closed:
            raise UnavailableError("the vector store is closed")
        with machine.translate_errors("start the process of the vector store"):
            self._process, self._connection = connected_child("cocu.vectors.edge_process", str(self._folder))
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise UnavailableError(
                f"the process of the vectors in {self._folder} ended when it was started (status "
                f"{self._stop()}); what it said is in the log of this process"
            ) from error
        if answer != "open":
            self._stop()
            raise UnavailableError(
                f"the vectors in {self._folder} are in use by another process; stop it, choose another "
                "folder, or use the http:// address of a Qdrant server, which serves many processes"
            )

    def _stop(self) -> int | None:
        """Close the connection and wait for the end of the process; its exit status."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is None:
            return None
        try:
            return process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _delete_local_mode(self) -> None:
        """Delete what an earlier version kept here; the platform puts it in again from the files."""
        old = [self._folder / name for name in _OF_LOCAL_MODE if (self._folder / name).exists()]
        if not old:
            return
        logger.warning(
            "the vectors in %s were written by an earlier version; they are made again from the files",
            self._folder,
        )
        for path in old:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.lost += 1


def _plain(conditions: Sequence[Condition]) -> list[tuple[str, list[int]]]:
    return [(condition.field, [*condition.numbers]) for condition in conditions]
