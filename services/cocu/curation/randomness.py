"""Randomness that is a pure function of names and counters: no state, no order of calls, the same in any
version.

A key is hashed once, by BLAKE2b to 64 bits. What it draws in a context (a curation, a seed, an epoch) starts
from that hash mixed with 128 bits of the context's own hash; the numbers of a seed are those of SplitMix64
(Steele, Lea, Flood 2014) at its counters. So all keys of a batch are drawn for together, without hashing text
again. numpy's generators are not used here because their streams may change between versions, and an epoch
must be resumable years later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Ids

__all__ = ["Seeds", "key_hashes", "nth", "numbers", "permutation", "seed_of", "seeds_of", "uniforms"]

Seeds = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def seed_of(*names: str | int) -> int:
    """The 64-bit seed of a tuple of names and numbers."""
    return int(_state(names)[0])


def key_hashes(keys: Sequence[str]) -> Seeds:
    """What `seeds_of` needs of keys, uint64 [B]: the same in every context, so worth keeping."""
    digests = b"".join(
        hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest() for key in keys
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def seeds_of(context: Sequence[str | int], hashes_B: Seeds) -> Seeds:
    """The seeds in one context of keys with these hashes, uint64 [B]: that of a key does not depend on the
    others."""
    first, second = _state(context)
    return np.asarray(_seeds(hashes_B, first, second))


def _state(names: Sequence[str | int]) -> Seeds:
    # Lengths before the parts keep ("a", "bc") and ("ab", "c") apart.
    parts = "".join(f"{len(str(part))}:{part}" for part in names)
    digest = hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def numbers(seed: int, count: int, *, start: int = 0) -> Seeds:
    """The numbers start..start+count-1 of a seed, uint64, uniform."""
    return np.asarray(_numbers(np.uint64(seed), start, count))


def nth(seed: int, number: int) -> int:
    """One of them: a seed of its own."""
    return int(numbers(seed, 1, start=number)[0])


def uniforms(seeds_B: Seeds, count: int) -> NDArray[np.float64]:
    """The first `count` numbers of each seed, float64 [B, count], uniform in [0, 1) on a grid of 2^-53."""
    return np.asarray(_uniforms(np.asarray(seeds_B, dtype=np.uint64), count))


def permutation(seed: int, count: int) -> Ids:
    """A permutation of 0..count-1, int64: the shuffle of Fisher and Yates with the numbers of the seed."""
    return np.asarray(_permutation(np.uint64(seed), count))


_compiled = numba.njit(nogil=True, cache=True)


@_compiled
def _mix(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


@_compiled
def _number(seed: np.uint64, place: int) -> np.uint64:
    return _mix(seed + np.uint64(place + 1) * _STEP)


@_compiled
def _uniform(number: np.uint64) -> float:
    return np.float64(number >> np.uint64(11)) * 2.0**-53


@_compiled
def _seeds(hashes_B: Seeds, first: np.uint64, second: np.uint64) -> Seeds:
    seeds_B = np.empty_like(hashes_B)
    for place in range(len(hashes_B)):
        # Two rounds: before the first, the seeds of two contexts differ by the same bits for all keys.
        seeds_B[place] = _mix(_mix(hashes_B[place] ^ first) + second)
    return seeds_B


@_compiled
def _numbers(seed: np.uint64, start: int, count: int) -> Seeds:
    found = np.empty(count, np.uint64)
    for place in range(count):
        found[place] = _number(seed, start + place)
    return found


@_compiled
def _uniforms(seeds_B: Seeds, count: int) -> NDArray[np.float64]:
    found_BK = np.empty((len(seeds_B), count), np.float64)
    for row in range(len(seeds_B)):
        for place in range(count):
            found_BK[row, place] = _uniform(_number(seeds_B[row], place))
    return found_BK


@_compiled
def _permutation(seed: np.uint64, count: int) -> Ids:
    places = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = int(_uniform(_number(seed, last)) * (last + 1))
        places[last], places[other] = places[other], places[last]
    return places
