"""Exact search: the cosines of a query with stored rows, and the rows nearest to it.

For one query at a time, as a search asks it; `exact` finds the neighbours of many rows at once. A pass over
the halves costs about what memory takes to deliver them. So there is no first pass over a copy in bytes: it
would save less than half of that, for half as much memory again and a copy to keep in step with the files.

A call computes on the thread that makes it, without Python's lock: requests have threads of their own, and
more threads a request would only take cores from one another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from cocu.curation.numba_cache import compiled
from cocu.errors import IntegrityError
from cocu.neighbours.matrix import Float32s, Halves, Ids

__all__ = ["Nearest", "cosines", "nearest"]

HalfBits = NDArray[np.uint16]
"""Float16 as the bits that hold it: numba does not compute with float16 on a CPU."""


@dataclass(frozen=True)
class Nearest:
    """The K rows nearest to a query, best first; rows of equal cosine in the order in which they were given.

    shards_K: int64, the position of each row's shard among those given. rows_K: int64, the row within it.
    cosines_K: float32.
    """

    shards_K: Ids
    rows_K: Ids
    cosines_K: Float32s


def load_kernel() -> None:
    """Load the compiled comparison, or compile it where no cache has it; the first call does it otherwise."""
    cosines(np.ones((1, 1), np.float16), np.ones(1, np.float32))


def cosines(embeddings_ND: Halves, query_D: Float32s, rows_R: Ids | None = None) -> Float32s:
    """Return the cosines of a query with all rows of a shard, or with the rows named, float32 [R].

    Embeddings are float16 [N, D] and usually memory-mapped; neither they nor the query need unit length. The
    cosine with a row of zeros, or of a query of zeros, is 0. Cosines lie within [-1, 1]. They are accumulated
    in float32 and differ from the exact ones by (1.5·D + 4)·2^-24 at most, at D = 512 by 3e-7 in practice. On
    one machine a row and a query give the same bits, whatever other rows are asked for and by however many
    threads.

    Raises IntegrityError for embeddings that are not float16 [N, D] with the D of the query, or not finite;
    ValueError for a query that is not finite or not one vector, and for rows outside 0..N-1.
    """
    unit_D = _unit(query_D)
    if embeddings_ND.dtype != np.float16 or embeddings_ND.ndim != 2 or embeddings_ND.shape[1] != len(unit_D):
        raise IntegrityError(
            f"the embeddings are {embeddings_ND.dtype} {list(embeddings_ND.shape)}, not float16 "
            f"[n, {len(unit_D)}] as the query: embed the shard again, or ask with a vector of its encoder"
        )
    if rows_R is None:
        rows_R = np.arange(len(embeddings_ND))
    elif len(rows_R) and (int(rows_R.min()) < 0 or int(rows_R.max()) >= len(embeddings_ND)):
        raise ValueError(f"rows must be between 0 and {len(embeddings_ND) - 1}")

    cosines_R = np.empty(len(rows_R), np.float32)
    _score(
        _read_only(embeddings_ND[:], np.float16).view(np.uint16),
        _read_only(unit_D, np.float32),
        _read_only(rows_R, np.int64),
        cosines_R,
    )
    if np.isnan(cosines_R).any():
        row = int(rows_R[np.flatnonzero(np.isnan(cosines_R))[0]])
        raise IntegrityError(f"the embedding of row {row} is not finite: embed its shard again")
    return cosines_R


def nearest(shards: Iterable[tuple[Halves, Ids | None]], query_D: Float32s, *, limit: int) -> Nearest:
    """Return the `limit` rows nearest to a query, or all where there are fewer.

    shards: the embeddings of each with the rows that may be found, None for all. They are taken one at a
    time, so a generator may map each when its turn comes. Memory holds the cosines of one shard and `limit`
    rows.
    Raises what `cosines` raises, and ValueError for a negative limit.
    """
    if limit < 0:
        raise ValueError(f"the limit must be 0 or more, not {limit}")
    shards_K, rows_K, cosines_K = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    for number, (embeddings_ND, rows_R) in enumerate(shards):
        cosines_R = cosines(embeddings_ND, query_D, rows_R)
        # A later row that only equals the worst one kept comes after it.
        is_full = limit > 0 and len(cosines_K) == limit
        entering_E = np.flatnonzero(cosines_R > cosines_K.min()) if is_full else np.arange(len(cosines_R))
        shards_K = np.concatenate([shards_K, np.full(len(entering_E), number)])
        rows_K = np.concatenate([rows_K, entering_E if rows_R is None else rows_R[entering_E]])
        cosines_K = np.concatenate([cosines_K, cosines_R[entering_E]])
        best_K = _best(cosines_K, limit)
        shards_K, rows_K, cosines_K = shards_K[best_K], rows_K[best_K], cosines_K[best_K]
    order_K = np.argsort(-cosines_K, kind="stable")
    return Nearest(shards_K[order_K], rows_K[order_K], cosines_K[order_K])


def _best(values_R: Float32s, limit: int) -> Ids:
    """Return the positions of the `limit` largest values, ascending; of equal values the first ones."""
    if len(values_R) <= limit:
        return np.arange(len(values_R))
    if limit == 0:
        return np.empty(0, np.int64)
    lowest = np.partition(values_R, len(values_R) - limit)[len(values_R) - limit]
    above_A = np.flatnonzero(values_R > lowest)
    equal_E = np.flatnonzero(values_R == lowest)[: limit - len(above_A)]
    return np.sort(np.concatenate([above_A, equal_E]))


def _unit(query_D: Float32s) -> Float32s:
    if query_D.ndim != 1:
        raise ValueError(f"the query must be one vector, not an array of shape {list(query_D.shape)}")
    # In float64, so that no query is too long or too short to be squared.
    exact_D = query_D.astype(np.float64)
    length = np.linalg.norm(exact_D)
    if not np.isfinite(length):
        raise ValueError("the query must be finite")
    return (exact_D / length if length else exact_D).astype(np.float32)


def _read_only(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return the array in C order and read only, as a mapped file is: the kernel is compiled for one form."""
    plain = np.ascontiguousarray(array, dtype).view(np.ndarray)
    plain.flags.writeable = False
    return plain


def _conversion(typing_context: Any, half: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _converts_halves(*context.codegen().magic_tuple()):
            return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())
        return _convert(builder, arguments[0])

    return types.float32(types.uint16), generate


_float_of: Any = intrinsic(_conversion)
"""The float32 of a float16 that is given by its bits; numba alone calls it."""


def _converts_halves(target: str, processor: str, features: str) -> bool:
    """Return whether the processor compiled for has an instruction for it; LLVM ends the process without."""
    if target.startswith(("aarch64", "arm64")):
        return True
    return {"+avx", "+f16c"} <= set(features.split(","))


def _convert(builder: Any, half: Any) -> Any:
    """Build the conversion from integer operations, at about half the speed of the instruction."""
    word = ir.IntType(32)
    number = builder.zext(half, word)
    sign = builder.shl(builder.and_(number, word(0x8000)), word(16))
    # Exponent and fraction where float32 has them; the exponent counts from another zero.
    magnitude = builder.shl(builder.and_(number, word(0x7FFF)), word(13))
    normal = builder.add(magnitude, word((127 - 15) << 23))
    infinite = builder.icmp_unsigned(">=", magnitude, word(0x1F << 23))
    normal = builder.select(infinite, builder.or_(magnitude, word(0x7F800000)), normal)
    # The fraction of a subnormal half is added to 2^-14, and that taken away again: both exact.
    smallest = builder.bitcast(builder.add(magnitude, word((127 - 14) << 23)), ir.FloatType())
    subnormal = builder.bitcast(builder.fsub(smallest, ir.FloatType()(2.0**-14)), word)
    is_subnormal = builder.icmp_unsigned("<", magnitude, word(1 << 23))
    return builder.bitcast(builder.or_(builder.select(is_subnormal, subnormal, normal), sign), ir.FloatType())


# numba takes what it kept for as long as this file is unchanged, so all that is compiled stands in it.
@compiled(nogil=True, error_model="numpy")
def _score(bits_ND: HalfBits, unit_D: Float32s, rows_R: Ids, cosines_R: Float32s) -> None:
    for position in range(len(rows_R)):
        product, square = _sums(bits_ND[rows_R[position]], unit_D)
        if square == 0:
            cosines_R[position] = 0
            continue
        cosine = product / np.sqrt(square)
        if cosine > 1:
            cosine = np.float32(1)
        elif cosine < -1:
            cosine = np.float32(-1)
        cosines_R[position] = cosine


# Sums in any order, so that they compile to vector instructions; the order is the same for every row.
@compiled(nogil=True, fastmath={"reassoc", "contract"})
def _sums(bits_D: HalfBits, unit_D: Float32s) -> tuple[np.float32, np.float32]:
    """Return the inner product of a row with the query, and its square."""
    product, square = np.float32(0), np.float32(0)
    for d in range(len(unit_D)):
        value = _float_of(bits_D[d])
        product += value * unit_D[d]
        square += value * value
    return product, square
