"""The hash of a table's values, whatever file, compression or chunks hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def content_hash(table: pa.Table) -> str:
    """SHA-256 (hex) over the values of a table.

    Every column is taken apart into leaves: the lengths of its lists and strings (int64), the bytes of
    its strings, its integers (int64) and floats (float32), all little-endian. Each leaf is hashed over
    all rows, then the leaves' paths and hashes are. So neither the version of a writer nor chunking,
    compression, dictionary encoding or the width of integers and list offsets matter; -0.0 counts as 0.0
    and every NaN as the same. Column order and names matter, row order does.

    Raises ValueError for nulls and for types other than strings, binaries, numbers, lists and structs.
    """
    leaves: dict[str, Any] = {}
    for name in table.column_names:
        for chunk in table.column(name).chunks or [pa.array([], table.schema.field(name).type)]:
            for path, data in _leaves(name, chunk):
                leaves.setdefault(path, hashlib.sha256()).update(data)
    total = hashlib.sha256(b"cocu table 1\n")
    for path, leaf in leaves.items():
        total.update(f"{path} {leaf.hexdigest()}\n".encode())
    return total.hexdigest()


def combined_hash(hashes: Iterable[str]) -> str:
    """The hash of several tables in order, such as those of the shards of a curation."""
    total = hashlib.sha256(b"cocu tables 1\n")
    for table_hash in hashes:
        total.update(f"{table_hash}\n".encode())
    return total.hexdigest()


def _leaves(path: str, array: pa.Array) -> Iterator[tuple[str, bytes]]:
    if array.null_count:
        raise ValueError(f"column {path} has {array.null_count} nulls, which a hashed table must not have")
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(path, array.dictionary_decode())
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            yield from _leaves(f"{path}.{kind.field(index).name}", pc.struct_field(array, index))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield f"{path}#", _little(pc.list_value_length(array), "<i8")
        yield from _leaves(f"{path}[]", array.flatten())
    elif pa.types.is_fixed_size_binary(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind):
        yield from _leaves(path, array.cast(pa.large_binary()))
    elif pa.types.is_large_binary(kind) or pa.types.is_large_string(kind):
        yield f"{path}#", _little(pc.binary_length(array), "<i8")
        yield path, _string_bytes(array)
    elif pa.types.is_integer(kind):
        yield path, _little(array, "<i8")
    elif pa.types.is_floating(kind):
        yield path, _canonical_floats(array.to_numpy(zero_copy_only=False))
    else:
        raise ValueError(f"column {path} is of type {kind}, which is not hashed")


def _little(array: pa.Array, dtype: str) -> bytes:
    return array.to_numpy(zero_copy_only=False).astype(dtype).tobytes()  # type: ignore[no-any-return]


def _string_bytes(array: pa.Array) -> bytes:
    if len(array) == 0:
        return b""
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    values = array.buffers()[2]
    return b"" if values is None else values[int(offsets[0]) : int(offsets[-1])].to_pybytes()


def _canonical_floats(values: NDArray[Any]) -> bytes:
    singles = values.astype("<f4") + np.float32(0.0)
    singles[np.isnan(singles)] = np.nan
    return singles.tobytes()
