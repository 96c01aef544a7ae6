"""Neighbours as a reader would compute them: all inner products in float64, sorted by similarity and id."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR


def naive_neighbours(
    embeddings_ND: NDArray[np.float16], queries: list[int], count: int, groups: list[int] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    exact_ND = embeddings_ND.astype(np.float64)
    groups = list(range(len(embeddings_ND))) if groups is None else groups
    ids_QL = np.full((len(queries), count), NO_NEIGHBOUR, np.int64)
    similarities_QL = np.zeros((len(queries), count), np.float32)
    for column, query in enumerate(queries):
        similarities = {row: float(exact_ND[row] @ exact_ND[query]) for row in range(len(exact_ND))}
        seen = {groups[query]}
        position = 0
        for row in sorted(similarities, key=lambda row: (-similarities[row], row)):
            if groups[row] not in seen and position < count:
                seen.add(groups[row])
                ids_QL[column, position], similarities_QL[column, position] = row, similarities[row]
                position += 1
    return ids_QL, similarities_QL


def unit_rows(random: np.random.Generator, count: int, dim: int) -> NDArray[np.float16]:
    rows_ND = random.standard_normal((count, dim))
    return (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float16)
