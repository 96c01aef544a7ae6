"""Randomness that is a pure function of names and counters: no state, no order of calls, the same in any
version.

A seed is the BLAKE2b hash of what it is for (a curation, a seed, an epoch, a sample's key); the numbers of a
seed are those of SplitMix64 at its counters. numpy's generators are not used here because their streams may
change between versions, and an epoch must be resumable years later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Ids

__all__ = ["permutation", "seed_of", "seeds_of", "uniforms"]

Seeds = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def seed_of(*names: str | int) -> int:
    """The 64-bit seed of a tuple of names and numbers."""
    return int(seeds_of(names[:-1], [str(names[-1])])[0])


def seeds_of(context: Sequence[str | int], keys: Sequence[str]) -> Seeds:
    """The seeds of many keys in one context, uint64 [B]: the seed of a key does not depend on the others."""
    # Lengths before the parts keep ("a", "bc") and ("ab", "c") apart.
    parts = "".join(f"{len(str(part))}:{part}" for part in context)
    state = hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    digests = b"".join(
        hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=state).digest()
        for key in keys
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _mix(values: Seeds) -> Seeds:
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def uniforms(seeds_B: Seeds, count: int) -> NDArray[np.float64]:
    """The first `count` numbers of each seed, float64 [B, count], uniform in [0, 1) on a grid of 2^-53."""
    counters_K = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    bits_BK = _mix(np.asarray(seeds_B, dtype=np.uint64)[:, None] + counters_K[None, :])
    return np.asarray((bits_BK >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def permutation(seed: int, count: int) -> Ids:
    """A permutation of 0..count-1, int64, uniform up to ties among 64-bit numbers."""
    numbers_N = _mix(np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * _STEP)
    return np.argsort(numbers_N, kind="stable").astype(np.int64)
