"""Copies of one picture: found, grouped, and kept from crowding a neighbour list."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.neighbours.rows import Float16s, Ids
from cocu.neighbours.search import DEFAULT_MEMORY, Engine, top_neighbours

__all__ = ["DistinctNeighbours", "Duplicates", "distinct_neighbours", "group_duplicates"]


MOST_BITS = 8
"""In how many of 64 bits the fingerprints of a picture and its copy may differ.

Of 388 COCO photographs, copies recompressed at quality 40 to 90 or resized to half or to 256 pixels
differ in at most 7, any two photographs in at least 11, and two of cosine 0.9 or more in at least 16.
"""

SAME_VECTOR = 0.999
"""Cosine from which rows without a fingerprint count as copies: all but the same vector.

Encoders give different pictures of one thing cosines as high as those of a picture and its recompressed copy,
so without pictures only what can hardly be anything else is called a copy.
"""

Similarities = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True)
class Duplicates:
    """The groups of copies among N rows.

    groups_N: int64, the lowest row of each row's group; a row without copies is its own group.
    exact: rows that are byte for byte a copy of an earlier row. near: the further rows that are no group's
    lowest. saturated: rows whose whole list was similar enough, so that copies beyond its end were not
    looked at.
    """

    groups_N: Ids
    exact: int
    near: int
    saturated: int


@dataclass(frozen=True)
class DistinctNeighbours:
    """Neighbour lists [B, L] without copies, as in `Neighbours`, and how many rows needed a second search."""

    ids_BL: Ids
    similarities_BL: Similarities
    refilled: int


def group_duplicates(
    *,
    hashes: Sequence[Hashable],
    lists: Iterable[tuple[Ids, Similarities]],
    threshold: float,
    fingerprints_N: NDArray[np.uint64] | None = None,
    pictured_N: NDArray[np.bool_] | None = None,
) -> Duplicates:
    """Group rows with equal bytes and rows that show the same picture; copies of copies are one group.

    Two rows show the same picture if their cosine is at least `threshold`, their fingerprints differ in no
    more than MOST_BITS of 64, and one is in the other's list. Without fingerprints the cosine decides
    alone: that is right for an encoder whose cosines tell pictures apart, and wrong for one that only tells
    apart what is in them. Of two rows that are not both pictured, at least SAME_VECTOR of cosine takes the
    place of the fingerprints.

    hashes: of each row's image bytes. pictured_N: which rows have a fingerprint; None is all. lists:
    neighbour lists, ids and similarities [n, K], of one shard after the other, so that one shard's are in
    memory at a time. The groups depend on nothing but which pairs are copies. Above a threshold of 1 only
    equal bytes count. Cosines are compared as they are given: float16 knows steps of 0.0005 just below 1.

    Raises ValueError when there is not one list per hash.
    """
    parents_N = _first_with_equal_hash(hashes)
    exact = int((parents_N != np.arange(len(hashes))).sum())
    start = saturated = 0
    for ids_BK, similarities_BK in lists:
        similar_BK = (ids_BK != NO_NEIGHBOUR) & (similarities_BK >= threshold)
        rows_E, places_E = np.nonzero(similar_BK)
        pairs_E2 = np.stack([rows_E + start, ids_BK[rows_E, places_E]], axis=1)
        if fingerprints_N is not None:
            bits_E = np.bitwise_count(fingerprints_N[pairs_E2[:, 0]] ^ fingerprints_N[pairs_E2[:, 1]])
            alike_E = bits_E <= MOST_BITS
            if pictured_N is not None:
                same_E = similarities_BK[rows_E, places_E] >= SAME_VECTOR
                alike_E = np.where(pictured_N[pairs_E2].all(axis=1), alike_E, same_E)
            pairs_E2 = pairs_E2[alike_E]
        for row, neighbour in pairs_E2.tolist():
            _join(parents_N, row, neighbour)
        start += len(ids_BK)
        saturated += int(similar_BK.all(axis=1).sum()) if similar_BK.shape[1] else 0
    if start != len(hashes):
        raise ValueError(f"{len(hashes)} hashes need as many neighbour lists, not {start}")
    groups_N = np.fromiter((_root(parents_N, row) for row in range(len(hashes))), np.int64, len(hashes))
    copies = int((groups_N != np.arange(len(hashes))).sum())
    return Duplicates(groups_N=groups_N, exact=exact, near=copies - exact, saturated=saturated)


def distinct_neighbours(
    embeddings: Sequence[Float16s],
    anchors: range | Ids,
    *,
    ids_BK: Ids,
    similarities_BK: Similarities,
    groups_N: Ids,
    count: int,
    engine: Engine = "cpu",
    memory: int = DEFAULT_MEMORY,
    threads: int = 0,
) -> DistinctNeighbours:
    """Cut raw neighbour lists [B, K] to `count` pictures that are no copies of each other or of the anchor.

    Keeps of every group the most similar member, the lowest id of equal ones. A row that has fewer than
    `count` left is searched again, exactly, among all rows; so the result is that of `top_neighbours` with
    `groups_N`, whatever K, in the precision of `similarities_BK`. Few rows need it when K exceeds `count`
    by what copies usually take; `refilled` counts them.
    """
    anchors_B = np.asarray(anchors, np.int64)
    ids_BL = np.full((len(anchors_B), count), NO_NEIGHBOUR, np.int64)
    similarities_BL = np.zeros((len(anchors_B), count), similarities_BK.dtype)
    kept_BK = _first_of_each_group(ids_BK, groups_N, groups_N[anchors_B])
    for kept_K, from_K, similar_K, ids_L, similarities_L in zip(
        kept_BK, ids_BK, similarities_BK, ids_BL, similarities_BL, strict=True
    ):
        chosen = np.flatnonzero(kept_K)[:count]
        ids_L[: len(chosen)] = from_K[chosen]
        similarities_L[: len(chosen)] = similar_K[chosen]
    # A list with room at its end holds the whole dataset already: searching again would find no more.
    complete_B = (ids_BK == NO_NEIGHBOUR).any(axis=1)
    short_S = np.flatnonzero((ids_BL[:, -1] == NO_NEIGHBOUR) & ~complete_B)
    if len(short_S):
        ids_BL[short_S], similarities_BL[short_S] = top_neighbours(
            embeddings,
            anchors_B[short_S],
            count=count,
            groups_N=groups_N,
            engine=engine,
            memory=memory,
            threads=threads,
        )
    return DistinctNeighbours(ids_BL, similarities_BL, refilled=len(short_S))


def _first_of_each_group(
    ids_BK: Ids, groups_N: Ids, own_B: Ids
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Which places of the lists hold the first member of a group other than the anchor's own."""
    groups_BK = np.where(ids_BK == NO_NEIGHBOUR, NO_NEIGHBOUR, groups_N[ids_BK])
    kept_BK = (ids_BK != NO_NEIGHBOUR) & (groups_BK != own_B[:, None])
    # Sorted by group, stably, the first of each run is the most similar.
    order_BK = np.argsort(groups_BK, axis=1, kind="stable")
    sorted_BK = np.take_along_axis(groups_BK, order_BK, axis=1)
    repeated_BK = np.zeros_like(kept_BK)
    np.put_along_axis(repeated_BK, order_BK[:, 1:], sorted_BK[:, 1:] == sorted_BK[:, :-1], axis=1)
    distinct_BK: NDArray[np.bool_] = kept_BK & ~repeated_BK
    return distinct_BK


def _first_with_equal_hash(hashes: Sequence[Hashable]) -> Ids:
    first: dict[Hashable, int] = {}
    return np.fromiter(
        (first.setdefault(each, row) for row, each in enumerate(hashes)), np.int64, len(hashes)
    )


def _root(parents_N: Ids, row: int) -> int:
    while parents_N[row] != row:
        parents_N[row] = parents_N[parents_N[row]]
        row = int(parents_N[row])
    return row


def _join(parents_N: Ids, a: int, b: int) -> None:
    low, high = sorted((_root(parents_N, a), _root(parents_N, b)))
    parents_N[high] = low
