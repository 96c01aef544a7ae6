"""Incremental search: extend known neighbour lists by a search of the shards that were added since."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.neighbours.exact import DEFAULT_MEMORY, Engine, Neighbours, top_neighbours
from cocu.neighbours.matrix import Float32s, Float64s, Halves, Ids, Rows

__all__ = ["extend_neighbours"]


def extend_neighbours(
    embeddings: Sequence[Halves],
    queries: range | Ids,
    *,
    known_QK: Ids,
    new_shards: Sequence[int],
    count: int,
    engine: Engine = "cpu",
    memory: int = DEFAULT_MEMORY,
    threads: int = 0,
) -> Neighbours:
    """Return the lists that `top_neighbours` finds among all shards, equal bit by bit, for less work.

    known_QK: the lists found among all shards but `new_shards` (ascending positions), as row ids of the
    present dataset, K at least `count`. Only the rows of `new_shards` are searched. The similarities of known
    rows are computed again, because they are stored in less precision than their order needs.

    Raises what `top_neighbours` raises, and ValueError for known lists that are too short.
    """
    queries_Q = np.asarray(queries, np.int64)
    if known_QK.shape[0] != len(queries_Q) or known_QK.shape[1] < count:
        raise ValueError(
            f"{len(queries_Q)} queries need known lists of at least {count} rows, not {known_QK.shape}"
        )
    candidates_QC = known_QK[:, :count]
    if new_shards:
        new = top_neighbours(
            embeddings,
            queries_Q,
            count=count,
            among=new_shards,
            engine=engine,
            memory=memory,
            threads=threads,
        )
        candidates_QC = np.concatenate([candidates_QC, new.ids_QL], axis=1)
    rows = Rows(embeddings)
    ids_QL = np.empty((len(queries_Q), count), np.int64)
    similarities_QL = np.empty((len(queries_Q), count), np.float32)
    block = max(1, memory // (16 * rows.dim * candidates_QC.shape[1]))
    for start in range(0, len(queries_Q), block):
        part = slice(start, start + block)
        exact_BC = _similarities(rows, rows.gather(queries_Q[part]), candidates_QC[part])
        ids_QL[part], similarities_QL[part] = _best(candidates_QC[part], exact_BC, count)
    return Neighbours(ids_QL, similarities_QL)


def _similarities(rows: Rows, queries_BD: Float32s, ids_BC: Ids) -> Float64s:
    """The exact inner products (see `scan`), -inf for NO_NEIGHBOUR."""
    exact_BC = np.full(ids_BC.shape, -np.inf)
    owners_P, columns_P = np.nonzero(ids_BC != NO_NEIGHBOUR)
    rows_PD = rows.gather(ids_BC[owners_P, columns_P]).astype(np.float64)
    exact_BC[owners_P, columns_P] = np.einsum("pd,pd->p", rows_PD, queries_BD[owners_P])
    return exact_BC


def _best(ids_BC: Ids, exact_BC: Float64s, count: int) -> tuple[Ids, Float64s]:
    """The most similar candidates, ties by ascending id; no candidate appears twice."""
    by_id_BC = np.argsort(ids_BC, axis=1, kind="stable")
    exact_BC = np.take_along_axis(exact_BC, by_id_BC, axis=1)
    ids_BC = np.take_along_axis(ids_BC, by_id_BC, axis=1)
    best_BL = np.argsort(-exact_BC, axis=1, kind="stable")[:, :count]
    ids_BL = np.take_along_axis(ids_BC, best_BL, axis=1)
    exact_BL = np.take_along_axis(exact_BC, best_BL, axis=1)
    exact_BL[ids_BL == NO_NEIGHBOUR] = 0.0
    return ids_BL, exact_BL
