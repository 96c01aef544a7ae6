"""Arrays in files, memory-mapped when read: embeddings, neighbours, mentions, parts of statistics.

Embeddings are .npy, which every tool reads. Arrays that belong together are one Arrow file, so that they
appear together: one record batch of one row, a large list per array, its shape in the field's metadata.
Values are mapped without a copy. Nothing is unpickled. Both have checksums (see `checksums`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu import machine
from cocu.curation.archives import Mentions
from cocu.errors import IntegrityError
from cocu.storage import checksums
from cocu.storage.objects import ObjectStore

Array = NDArray[Any]


def write_embeddings(objects: ObjectStore, path: str, embeddings_ND: NDArray[np.floating[Any]]) -> None:
    """Write as float16 .npy. Raises ValueError where they are not finite or not [N, D]."""
    if embeddings_ND.ndim != 2:
        raise ValueError(f"embeddings must be [N, D], not of shape {embeddings_ND.shape}")
    halves_ND = np.ascontiguousarray(embeddings_ND, dtype=np.float16)
    if not np.isfinite(halves_ND).all():
        rows = np.flatnonzero(~np.isfinite(halves_ND).all(axis=1))
        raise ValueError(f"embeddings of {rows.size} samples are not finite, the first in row {rows[0]}")
    with objects.writing(path) as file:
        np.save(file, halves_ND, allow_pickle=False)
        checksums.add(file, checksums.PLAIN)


def read_embeddings(objects: ObjectStore, path: str) -> NDArray[np.float16]:
    """Memory-map float16 [N, D]. Raises NotFoundError, IntegrityError."""
    local, _ = checksums.verify(objects, path, checksums.PLAIN)
    try:
        # Mapping an array without rows fails, so those are read.
        is_mappable = local.stat().st_size > 256
        embeddings_ND: Array = np.load(local, mmap_mode="r" if is_mappable else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        machine.raise_machine_error(error, f"read object {path}")
        raise checksums.damaged(path, f"it is not an array ({error})") from error
    if embeddings_ND.dtype != np.float16 or embeddings_ND.ndim != 2:
        raise IntegrityError(
            f"object {path} holds {embeddings_ND.dtype} of shape {embeddings_ND.shape}, not float16 [N, D]"
        )
    return embeddings_ND


def read_embedding_rows(
    objects: ObjectStore, path: str, rows_R: NDArray[np.integer[Any]]
) -> NDArray[np.float16]:
    """Read some rows of float16 [N, D]: for a few, a tenth of the time that mapping the file takes.

    Raises NotFoundError, IntegrityError, and IndexError for a row that is not there.
    """
    local, _ = checksums.verify(objects, path, checksums.PLAIN)
    try:
        start, count, dimensions = _layout(local, checksums.identity(local))
        if len(rows_R) and not 0 <= rows_R.min() <= rows_R.max() < count:
            raise IndexError(f"object {path} has {count} rows, not row {rows_R.max()}")
        descriptor = os.open(local, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = 2 * dimensions
            rows = [os.pread(descriptor, size, start + row * size) for row in rows_R.tolist()]
        finally:
            os.close(descriptor)
    except (ValueError, EOFError, OSError) as error:
        machine.raise_machine_error(error, f"read object {path}")
        raise checksums.damaged(path, f"it is not an array ({error})") from error
    return np.frombuffer(b"".join(rows), np.float16).reshape(len(rows), dimensions)


@lru_cache(maxsize=4096)
def _layout(file: Path, identity: checksums.Identity) -> tuple[int, int, int]:
    """Where the numbers of an .npy of embeddings begin, and its N and D. Raises ValueError for others."""
    with file.open("rb") as opened:
        version = np.lib.format.read_magic(opened)
        if version != (1, 0):  # of `np.save` for plain arrays, whatever its version
            raise ValueError(f"its format is {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(opened)
        if dtype != np.float16 or len(shape) != 2 or is_fortran:
            raise ValueError(f"it holds {dtype} of shape {shape}, not float16 [N, D]")
        return opened.tell(), shape[0], shape[1]


def write_arrays(objects: ObjectStore, path: str, arrays: Mapping[str, Array]) -> None:
    """Write named arrays of numbers, of any shapes, as one file.

    Equal arrays give equal bytes. Raises ValueError for dtypes other than integers and floats of 8 to 64
    bits.
    """
    fields, columns = [], []
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf":
            raise ValueError(f"array {name!r} is of {array.dtype}, not of integers or floats")
        values = pa.array(np.ascontiguousarray(array).reshape(-1))
        columns.append(pa.LargeListArray.from_arrays(pa.array([0, array.size], pa.int64()), values))
        shape = json.dumps(array.shape).encode()
        fields.append(pa.field(name, columns[-1].type, metadata={b"shape": shape}))
    schema = pa.schema(fields)
    with objects.writing(path) as file:
        with pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        checksums.add(file, checksums.ARROW)


def read_arrays(objects: ObjectStore, path: str) -> dict[str, Array]:
    """Memory-map named arrays, read only, without copying. Raises NotFoundError, IntegrityError."""
    local, _ = checksums.verify(objects, path, checksums.ARROW)
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(local))).get_batch(0)
        return {
            field.name: column.values.to_numpy(zero_copy_only=True).reshape(_shape(field))
            for field, column in zip(batch.schema, batch.columns, strict=True)
        }
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        machine.raise_machine_error(error, f"read object {path}")
        raise checksums.damaged(path, f"it does not hold arrays ({error})") from error


def write_mentions(objects: ObjectStore, path: str, mentions: Mentions) -> None:
    """Write mentions as one memory-mappable file."""
    arrays: dict[str, Array] = {
        "offsets_N1": np.asarray(mentions.offsets_N1, dtype=np.int64),
        "concepts_M": np.asarray(mentions.concepts_M, dtype=np.int32),
        "similarities_M": np.asarray(mentions.similarities_M, dtype=np.float32),
    }
    write_arrays(objects, path, arrays)


def read_mentions(objects: ObjectStore, path: str) -> Mentions:
    """Memory-map mentions. Raises NotFoundError, IntegrityError."""
    arrays = read_arrays(objects, path)
    if set(arrays) != {"offsets_N1", "concepts_M", "similarities_M"}:
        raise IntegrityError(f"object {path} does not hold mentions but {sorted(arrays)}")
    mentions = Mentions(**arrays)
    count = len(mentions.concepts_M)
    if (
        len(mentions.offsets_N1) < 1
        or mentions.offsets_N1[-1] != count
        or len(mentions.similarities_M) != count
    ):
        raise IntegrityError(f"the mentions in object {path} do not fit together")
    return mentions


def concatenate_mentions(parts: Sequence[Callable[[], Mentions]]) -> Mentions:
    """Concatenate the mentions of several shards, in this order; no shards give the mentions of no samples.

    parts: functions that read one shard's mentions. Each is called twice, so that not all are mapped at once.
    """
    sizes = [(len(part.offsets_N1) - 1, len(part.concepts_M)) for part in (read() for read in parts)]
    samples, mentions = (sum(size) for size in zip(*sizes, strict=True)) if sizes else (0, 0)
    concatenated = Mentions(
        offsets_N1=np.zeros(samples + 1, np.int64),
        concepts_M=np.empty(mentions, np.int32),
        similarities_M=np.empty(mentions, np.float32),
    )
    row = start = 0
    for read, (rows, count) in zip(parts, sizes, strict=True):
        part = read()
        concatenated.offsets_N1[row + 1 : row + 1 + rows] = part.offsets_N1[1:] + start
        concatenated.concepts_M[start : start + count] = part.concepts_M
        concatenated.similarities_M[start : start + count] = part.similarities_M
        row, start = row + rows, start + count
    return concatenated


def _shape(field: pa.Field) -> tuple[int, ...]:
    return tuple(json.loads(field.metadata[b"shape"]))
