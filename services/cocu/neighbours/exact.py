"""Exact search for the L nearest neighbours of many rows at once."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.neighbours.exact_cpu import scan
from cocu.neighbours.matrix import Float32s, Float64s, Halves, Ids, Rows

__all__ = ["DEFAULT_MEMORY", "Engine", "Neighbours", "available_engine", "top_neighbours"]

Engine = Literal["cpu", "cuda"]

DEFAULT_MEMORY = 64 << 20
"""Bytes that a search may use beside its results; see `top_neighbours`."""

SMALLEST_TILE = 256


class Neighbours(NamedTuple):
    """Neighbour lists: int64 row ids and float32 cosines, most similar first, ties by ascending id.

    A list shorter than L is padded with NO_NEIGHBOUR and similarity 0.
    """

    ids_QL: Ids
    similarities_QL: Float32s


def top_neighbours(
    embeddings: Sequence[Halves],
    queries: range | Ids,
    *,
    count: int,
    groups_N: Ids | None = None,
    among: Sequence[int] | None = None,
    engine: Engine = "cpu",
    memory: int = DEFAULT_MEMORY,
    threads: int = 0,
) -> Neighbours:
    """Find the `count` rows most similar to each query row, without the query itself.

    embeddings: one float16 [n, D] matrix per shard, in shard order, of unit norm or zero; memory-mapped
    files work. queries: the ids of the query rows. groups_N: int64 group of every row; a list then leaves out
    the query's own group and contains only the most similar member of any other group, the lowest id of
    equally similar ones. among: the shards to search (ascending positions); None searches all.

    Similarities are the exact inner products of the stored float16 numbers, rounded once to float32. They and
    the ids do not depend on tiles, threads, engine or machine. Memory: about `memory` bytes beside the
    results and `groups_N` (8 bytes a row), whatever N; tiles shrink to fit, down to 256 rows. threads: 0
    for one per usable core; the matrix products use as many as the BLAS library is set to.

    Raises ValueError for a count below 1 and for rows or shards outside the dataset, IntegrityError for
    embeddings that are not finite or not of unit norm.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    rows = Rows(embeddings)
    if groups_N is None:
        groups_N = np.arange(len(rows), dtype=np.int64)
    elif groups_N.shape != (len(rows),):
        raise ValueError(f"groups_N must have a group for each of {len(rows)} rows, not {groups_N.shape}")
    searched = _SearchedRows.of(rows, embeddings, groups_N, among)
    queries_Q = np.asarray(queries, np.int64)
    ids_QL = np.full((len(queries_Q), count), NO_NEIGHBOUR, np.int64)
    exact_QL = np.full((len(queries_Q), count), -np.inf)
    block = max(SMALLEST_TILE, memory // 2 // (4 * rows.dim))
    for start in range(0, len(queries_Q), block):
        part = slice(start, start + block)
        _search(
            searched,
            rows.gather(queries_Q[part]),
            groups_N[queries_Q[part]],
            ids_QL[part],
            exact_QL[part],
            engine=engine,
            memory=memory // 4,
            threads=threads,
        )
    exact_QL[ids_QL == NO_NEIGHBOUR] = 0.0
    return Neighbours(searched.global_ids(ids_QL), exact_QL.astype(np.float32))


def available_engine() -> Engine:
    """Return the fastest engine of this machine: "cuda" where torch finds a GPU, otherwise "cpu"."""
    if importlib.util.find_spec("torch") is None:
        return "cpu"
    return "cuda" if _cuda().available() else "cpu"


@dataclass(frozen=True)
class _SearchedRows:
    """The rows to search and their groups; `ids_S` are their ids, or None if they are all rows."""

    rows: Rows
    groups_S: Ids
    ids_S: Ids | None

    @classmethod
    def of(
        cls, rows: Rows, embeddings: Sequence[Halves], groups_N: Ids, among: Sequence[int] | None
    ) -> _SearchedRows:
        if among is None:
            return cls(rows, groups_N, None)
        if not among or list(among) != sorted(set(range(len(embeddings))) & set(among)):
            raise ValueError(
                f"among must name some of {len(embeddings)} shards, ascending, not {list(among)}"
            )
        starts = np.cumsum([0, *(len(shard) for shard in embeddings)])
        ids_S = np.concatenate([np.arange(starts[shard], starts[shard + 1]) for shard in among]).astype(
            np.int64
        )
        return cls(Rows([embeddings[shard] for shard in among]), groups_N[ids_S], ids_S)

    def global_ids(self, ids_QL: Ids) -> Ids:
        """Map positions among the searched rows to row ids of the whole dataset."""
        if self.ids_S is None or not len(self.ids_S):
            return ids_QL
        return np.where(ids_QL == NO_NEIGHBOUR, NO_NEIGHBOUR, self.ids_S[ids_QL])


def _search(
    searched: _SearchedRows,
    queries_QD: Float32s,
    own_Q: Ids,
    ids_QL: Ids,
    exact_QL: Float64s,
    *,
    engine: Engine,
    memory: int,
    threads: int,
) -> None:
    rows, groups_N = searched.rows, searched.groups_S
    tile = max(SMALLEST_TILE, memory // (4 * rows.dim))
    uncertain_U = np.arange(len(queries_QD))
    if engine == "cuda":
        uncertain_U = _cuda().propose(
            rows,
            queries_QD=queries_QD,
            own_Q=own_Q,
            groups_N=groups_N,
            ids_QL=ids_QL,
            exact_QL=exact_QL,
            tile=tile,
        )
    if not len(uncertain_U):
        return
    ids_UL = np.full((len(uncertain_U), ids_QL.shape[1]), NO_NEIGHBOUR, np.int64)
    exact_UL = np.full(ids_UL.shape, -np.inf)
    threads = threads or _usable_cores()
    with ThreadPoolExecutor(threads, thread_name_prefix="neighbours") as pool:
        scan(
            rows,
            queries_QD=queries_QD[uncertain_U],
            own_Q=own_Q[uncertain_U],
            groups_N=groups_N,
            ids_QL=ids_UL,
            exact_QL=exact_UL,
            tile=tile,
            pool=pool,
            threads=threads,
        )
    ids_QL[uncertain_U], exact_QL[uncertain_U] = ids_UL, exact_UL


def _cuda() -> ModuleType:
    # torch is large and absent from most installations.
    return importlib.import_module("cocu.neighbours.exact_cuda")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
