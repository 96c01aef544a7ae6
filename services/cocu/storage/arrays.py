"""Arrays on files, memory-mapped when read: embeddings, neighbours, mentions, parts of statistics.

Embeddings are .npy, which everybody reads. Arrays that belong together are one Arrow file, so that they
appear together: one record batch of one row, a large list per array, its shape in the field's metadata;
values are mapped without a copy. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.curation.archives import Mentions
from cocu.errors import IntegrityError
from cocu.storage.objects import ObjectStore

Array = NDArray[Any]


def write_embeddings(objects: ObjectStore, path: str, embeddings_ND: NDArray[np.floating[Any]]) -> None:
    """Write as float16 .npy. Raises ValueError for anything but finite [N, D]."""
    if embeddings_ND.ndim != 2:
        raise ValueError(f"embeddings must be [N, D], not of shape {embeddings_ND.shape}")
    halves_ND = np.ascontiguousarray(embeddings_ND, dtype=np.float16)
    if not np.isfinite(halves_ND).all():
        rows = np.flatnonzero(~np.isfinite(halves_ND).all(axis=1))
        raise ValueError(f"embeddings of {rows.size} samples are not finite, the first in row {rows[0]}")
    with objects.writing(path) as file:
        np.save(file, halves_ND, allow_pickle=False)


def read_embeddings(objects: ObjectStore, path: str) -> NDArray[np.float16]:
    """Memory-map float16 [N, D]. Raises NotFoundError, IntegrityError."""
    local = objects.local_path(path)
    try:
        # Mapping an array without rows fails, so those are read.
        is_mappable = local.stat().st_size > 256
        embeddings_ND: Array = np.load(local, mmap_mode="r" if is_mappable else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise IntegrityError(f"object {path} is not an array ({error})") from error
    if embeddings_ND.dtype != np.float16 or embeddings_ND.ndim != 2:
        raise IntegrityError(
            f"object {path} holds {embeddings_ND.dtype} of shape {embeddings_ND.shape}, not float16 [N, D]"
        )
    return embeddings_ND


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
    with objects.writing(path) as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))


def read_arrays(objects: ObjectStore, path: str) -> dict[str, Array]:
    """Memory-map named arrays, read only, without copying. Raises NotFoundError, IntegrityError."""
    local = objects.local_path(path)
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(local))).get_batch(0)
        return {
            field.name: column.values.to_numpy(zero_copy_only=True).reshape(_shape(field))
            for field, column in zip(batch.schema, batch.columns, strict=True)
        }
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"object {path} does not hold arrays ({error})") from error


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


def concatenate_mentions(parts: Sequence[Mentions]) -> Mentions:
    """The mentions of several shards as one, in the order given; of no shards, those of no samples."""
    starts = np.cumsum([0, *(len(part.concepts_M) for part in parts)])
    offsets = [np.zeros(1, np.int64)]
    offsets += [part.offsets_N1[1:] + start for part, start in zip(parts, starts, strict=False)]
    concepts = [np.empty(0, np.int32), *(part.concepts_M for part in parts)]
    similarities = [np.empty(0, np.float32), *(part.similarities_M for part in parts)]
    return Mentions(
        offsets_N1=np.concatenate(offsets).astype(np.int64),
        concepts_M=np.concatenate(concepts).astype(np.int32),
        similarities_M=np.concatenate(similarities).astype(np.float32),
    )


def _shape(field: pa.Field) -> tuple[int, ...]:
    return tuple(json.loads(field.metadata[b"shape"]))
