"""Counter-based randomness: a pure function of names and counters, without state, stable across versions.

A key is hashed once, by BLAKE2b to 64 bits. In a context (a curation, a seed, an epoch) the seed of the key
is that hash mixed with 128 bits of the context's own hash. The numbers of a seed are those of SplitMix64
(Steele, Lea, Flood 2014) at its counters. So one compiled loop draws for all keys of a batch, without hashing
text again. numpy's generators are not used because their streams may change between versions, and an epoch
must be resumable years later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Ids
from cocu.curation.numba_cache import compiled

__all__ = ["Seeds", "key_hashes", "nth", "numbers", "permutation", "seed_of", "seeds_of", "uniforms"]

Seeds = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def seed_of(*names: str | int) -> int:
    """Return the 64-bit seed of a tuple of names and numbers."""
    return int(_state(names)[0])


def key_hashes(keys: Sequence[str]) -> Seeds:
    """Hash the keys for `seeds_of`, uint64 [B]: the hashes hold in every context, so callers may cache
    them."""
    digests = b"".join(
        hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest() for key in keys
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def seeds_of(context: Sequence[str | int], hashes_B: Seeds) -> Seeds:
    """Return the seeds of hashed keys in one context, uint64 [B]; the seed of a key does not depend on the
    other keys."""
    first, second = _state(context)
    return np.asarray(_seeds(hashes_B, first, second))


def _state(names: Sequence[str | int]) -> Seeds:
    # Lengths before the parts keep ("a", "bc") and ("ab", "c") apart.
    parts = "".join(f"{len(str(part))}:{part}" for part in names)
    digest = hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def numbers(seed: int, count: int, *, start: int = 0) -> Seeds:
    """Return the numbers start..start+count-1 of a seed, uint64, uniform."""
    return np.asarray(_numbers(np.uint64(seed), start, count))


def nth(seed: int, number: int) -> int:
    """Return one number of a seed, which may serve as another seed."""
    return int(numbers(seed, 1, start=number)[0])


def uniforms(seeds_B: Seeds, count: int) -> NDArray[np.float64]:
    """Return the first `count` numbers of each seed, float64 [B, count], uniform in [0, 1) on a grid of
    2^-53."""
    return np.asarray(_uniforms(np.asarray(seeds_B, dtype=np.uint64), count))


def permutation(seed: int, count: int) -> Ids:
    """Return a permutation of 0..count-1, int64: a Fisher-Yates shuffle with the numbers of the seed."""
    return np.asarray(_permutation(np.uint64(seed), count))


_compiled = compiled(nogil=True)


@_compiled
def _mix(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


@_compiled
def _number(seed: np.uint64, counter: int) -> np.uint64:
    return _mix(seed + np.uint64(counter + 1) * _STEP)


@_compiled
def _uniform(number: np.uint64) -> float:
    return np.float64(number >> np.uint64(11)) * 2.0**-53


@_compiled
def _seeds(hashes_B: Seeds, first: np.uint64, second: np.uint64) -> Seeds:
    seeds_B = np.empty_like(hashes_B)
    for key in range(len(hashes_B)):
        # Two rounds: before the first, the seeds of two contexts differ by the same bits for all keys.
        seeds_B[key] = _mix(_mix(hashes_B[key] ^ first) + second)
    return seeds_B


@_compiled
def _numbers(seed: np.uint64, start: int, count: int) -> Seeds:
    values = np.empty(count, np.uint64)
    for index in range(count):
        values[index] = _number(seed, start + index)
    return values


@_compiled
def _uniforms(seeds_B: Seeds, count: int) -> NDArray[np.float64]:
    values_BK = np.empty((len(seeds_B), count), np.float64)
    for row in range(len(seeds_B)):
        for index in range(count):
            values_BK[row, index] = _uniform(_number(seeds_B[row], index))
    return values_BK


@_compiled
def _permutation(seed: np.uint64, count: int) -> Ids:
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = int(_uniform(_number(seed, last)) * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order
