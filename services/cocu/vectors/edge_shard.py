"""One owner's points in a shard of Qdrant Edge, opened by the process that holds the folder.

    FOLDER/current    the name of the version that is read and written
    FOLDER/<version>  a shard of the engine

What lies beside `current` was never finished, or has been replaced, and is deleted when the shard is opened.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

LINKS = 16
"""Of a point to others, in the graph."""
EF_CONSTRUCT = 128
OVERSAMPLING = 2.0
FILTERED_EF = 64
"""Candidates of a search through the graph with a filter, each of which costs the neighbours of its
neighbours. Half of what a graph is built with takes half of the time at 100,000 × 512 and keeps a recall@20
of 0.997 and more."""
POINTS_AT_ONCE = 512
"""Points of one update of the engine."""
READ_AHEAD_BYTES = 1 << 30
"""Of a shard's vectors, read when it is opened: those of a million × 512."""

Point = tuple[str, Any, dict[str, Any]]
"""(id, vector (D,), payload)"""
Conditions = Sequence[tuple[str, Sequence[int]]]
"""(field, numbers of which it holds one); all of them must hold."""


class DamagedError(Exception):
    """The engine cannot read the files of a shard.

    folder: of the shard.
    """

    def __init__(self, folder: Path, said: str) -> None:
        super().__init__(said)
        self.folder = folder


def create_engine(folder: Path, dimensions: int, indexed: Sequence[str]) -> edge.EdgeShard:
    """Create an empty shard of the engine with its payload indexes.

    Vectors are halves, with a byte a number beside them once there is a graph.
    """
    folder.mkdir(parents=True, mode=0o700)
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=dimensions,
            distance=edge.Distance.Cosine,
            datatype=edge.VectorStorageDatatype.Float16,
            on_disk=True,
        ),
        on_disk_payload=True,
        hnsw_config=edge.HnswIndexConfig(m=LINKS, ef_construct=EF_CONSTRUCT, full_scan_threshold=10_000),
        quantization_config=edge.ScalarQuantizationConfig(
            edge.ScalarType.Int8, quantile=0.99, always_ram=True
        ),
        # Of one version all points get into the graph: it is built of many at once, or not at all.
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1),
    )
    engine = edge.EdgeShard.create(str(folder), config)
    # Before the first point: what is there is not indexed again.
    for field in indexed:
        numbers = edge.IntegerIndexParams(lookup=True, range=False)
        engine.update(edge.UpdateOperation.create_field_index(field, numbers))
    return engine


def load_engine(folder: Path) -> edge.EdgeShard:
    """Open a shard of the engine.

    The engine reads its files page by page, with read-ahead switched off. Read at once before it, what it
    loads as a whole takes 0.2 s instead of 1.4 (100,000 × 512), and the first searches do not wait for a page
    at every step through the graph. The vectors, which searches read a few of, follow in a thread.
    """
    segments = folder / "segments"
    _read_whole([*segments.glob("*/vector_storage/quantized.data"), *segments.glob("*/vector_index/*")])
    engine = edge.EdgeShard.load(str(folder))
    vectors = list(segments.glob("*/vector_storage/matrix.dat"))
    threading.Thread(target=_read_whole, args=(vectors,), daemon=True).start()
    return engine


def _read_whole(files: Sequence[Path]) -> None:
    """Have the system keep these files in memory, as far as it has room."""
    buffer = bytearray(1 << 20)
    left = READ_AHEAD_BYTES
    # What is not there or cannot be read is the engine's to tell.
    with suppress(OSError):
        for path in files:
            with path.open("rb", buffering=0) as file:
                while left > 0 and (size := file.readinto(buffer)):
                    left -= size


def upsert(engine: edge.EdgeShard, points: Sequence[Point]) -> None:
    """Insert or replace points; what has returned survives a killed process."""
    for start in range(0, len(points), POINTS_AT_ONCE):
        batch = [_point(*point) for point in points[start : start + POINTS_AT_ONCE]]
        engine.update(edge.UpdateOperation.upsert_points(batch))


def _point(id: str, vector: Any, payload: dict[str, Any]) -> edge.Point:
    # A view of the numbers is read five times as fast as the array.
    view: Any = np.asarray(vector, np.float32).data
    return edge.Point(id, view, payload)


class OwnerShard:
    """The points of an owner. Raises DamagedError where its files cannot be read."""

    def __init__(self, folder: Path, dimensions: int, indexed: Sequence[str]) -> None:
        self.folder = folder
        self.unflushed = 0
        """Points written since the last flush."""
        self.last_write = time.monotonic()
        self.journal: list[Sequence[Point]] | None = None
        """What is written while a copy is made of the points: it has to reach the copy, too."""
        current = folder / "current"
        if current.exists():
            version = current.read_text()
            self._engine = self._call(load_engine, folder / version)
        else:
            version = secrets.token_hex(6)
            self._engine = create_engine(folder / version, dimensions, indexed)
            self._point_to(version)
        self._version = version
        self._outside = self._read_outside()
        self._delete_others(version)

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace points."""
        if self.journal is not None:
            self.journal.append(points)
        self._call(upsert, self._engine, points)
        self.unflushed += len(points)
        self._outside += len(points)
        self.last_write = time.monotonic()

    def search(
        self, vector: Any, conditions: Conditions, limit: int, offset: int, fields: Sequence[str]
    ) -> list[tuple[float, dict[str, Any]]]:
        """(cosine, payload) of the nearest points."""
        request = edge.QueryRequest(
            limit=limit,
            offset=offset,
            query=edge.Query.Nearest(vector),
            filter=_filter(conditions),
            with_payload=edge.PayloadSelector.Include([*fields]),
            params=edge.SearchParams(
                # What is found by bytes is ranked by the stored halves.
                quantization=edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING),
                # Where a filter leaves out many points, the graph is followed through them to the next
                # (ACORN, Patel et al. 2024): of the 20 nearest, one was missed otherwise.
                acorn=edge.AcornSearchParams(enable=bool(conditions), max_selectivity=1.0),
                hnsw_ef=FILTERED_EF if conditions else None,
            ),
        )
        return [(point.score, point.payload or {}) for point in self._call(self._engine.query, request)]

    def count(self, conditions: Conditions = ()) -> int:
        """How many points satisfy all conditions."""
        return int(self._call(self._engine.count, edge.CountRequest(exact=True, filter=_filter(conditions))))

    def facet(self, name: str, conditions: Conditions, limit: int) -> dict[int, int]:
        """How many points hold each number of a field."""
        # Not `exact`, which costs 20 times as much: the counts differ only while the engine moves points from
        # one part to another, and here nobody writes meanwhile.
        request = edge.FacetRequest(name, limit=limit, exact=False, filter=_filter(conditions))
        response = self._call(self._engine.facet, request)
        return {int(hit.value): int(hit.count) for hit in response.hits if hit.count}

    def without_graph(self) -> tuple[int, int]:
        """(points that are in no graph, at most; points)."""
        info = self._call(self._engine.info)
        points = int(info.points_count)
        # A point that is written again leaves its graph, but the engine still counts its vector there.
        return (min(self._outside, points) if info.indexed_vectors_count else points), points

    def batches(self, points: int) -> Iterator[list[Point]]:
        """All points in batches. Those written meanwhile may be in them or not."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=points, with_payload=True, with_vector=True)
            records, offset = self._call(self._engine.scroll, request)
            if records:
                yield [(str(record.id), record.vector, record.payload or {}) for record in records]
            if offset is None:
                return

    def flush(self) -> None:
        """Write out what the log holds, so that the next start need not replay it."""
        self._call(self._engine.flush)
        self.unflushed = 0
        self._write_outside()

    def replace_by(self, version: str, outside: int) -> None:
        """Read and write this version from now on, flushed in the folder, and delete the others.

        outside: points written into it since its graph was built.
        """
        engine = self._call(load_engine, self.folder / version)
        self._point_to(version)
        self._engine.close()
        self._engine = engine
        self.unflushed = 0
        self._version, self._outside = version, outside
        self._write_outside()
        self._delete_others(version)

    def close(self) -> None:
        """Flush and close."""
        if self.unflushed:
            self.flush()
        self._engine.close()

    def is_readable(self) -> bool:
        """Whether every point can be read; it reads them all."""
        try:
            return all(batch for batch in self.batches(POINTS_AT_ONCE))
        except DamagedError:
            return False

    def _call(self, call: Any, *arguments: Any) -> Any:
        """What a call of the engine returns. Raises OSError where the machine refuses, else DamagedError."""
        try:
            return call(*arguments)
        except (OSError, MemoryError, KeyboardInterrupt, SystemExit):
            raise
        # All that the engine raises is an Exception with a text, or a panic, which is no Exception.
        except BaseException as error:
            if "os error" in str(error) or "No space left" in str(error):
                raise OSError(str(error)) from error
            raise DamagedError(self.folder, f"{type(error).__name__}: {error}") from error

    def _point_to(self, version: str) -> None:
        temporary = self.folder / "current.new"
        with temporary.open("w") as file:
            file.write(version)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / "current")

    def _read_outside(self) -> int:
        """How many points were written since the graph was built, as far as known; all if it is not."""
        try:
            version, outside = (self.folder / "outside").read_text().split()
            return int(outside) if version == self._version else sys.maxsize
        except (FileNotFoundError, ValueError):
            return sys.maxsize

    def _write_outside(self) -> None:
        # Nothing but time depends on it. Old after a crash, searches compare some points too many one by one
        # until more is written; lost, a good graph is built once more.
        (self.folder / "outside").write_text(f"{self._version} {self._outside}")

    def _delete_others(self, version: str) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and path.name != version:
                shutil.rmtree(path, ignore_errors=True)


def _filter(conditions: Conditions) -> edge.Filter | None:
    if not conditions:
        return None
    return edge.Filter(
        must=[edge.FieldCondition(name, match=edge.MatchAny([*numbers])) for name, numbers in conditions]
    )
