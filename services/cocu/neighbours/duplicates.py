"""Duplicates: groups of copies of one image, and neighbour lists with one member of each group."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.neighbours.exact import DEFAULT_MEMORY, Engine, top_neighbours
from cocu.neighbours.matrix import Halves, Ids

__all__ = ["DistinctNeighbours", "Duplicates", "distinct_neighbours", "group_duplicates"]


MAX_BIT_DISTANCE = 8
"""The largest number of bits, of 64, in which the perceptual hashes of an image and its copy may differ.

Of 388 COCO photographs, copies recompressed at quality 40 to 90 or resized to half or to 256 pixels
differ in at most 7, any two photographs in at least 11, and two of cosine 0.9 or more in at least 16.
"""

SAME_VECTOR = 0.999
"""The cosine from which rows without a perceptual hash count as copies: nearly the same vector.

Encoders give different images of one thing cosines as high as those of an image and its recompressed copy, so
without images only nearly equal vectors count as copies.
"""

Similarities = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True)
class Duplicates:
    """The groups of copies among N rows.

    groups_N: int64, the lowest row of each row's group; a row without copies is its own group.
    exact: the number of rows that equal an earlier row byte by byte. near: the number of other rows that are
    not the lowest of their group. saturated: the number of rows whose whole list was similar enough, so that
    copies beyond its end were missed.
    """

    groups_N: Ids
    exact: int
    near: int
    saturated: int


@dataclass(frozen=True)
class DistinctNeighbours:
    """Neighbour lists [B, L] without copies, as in `Neighbours`, and the number of rows searched again."""

    ids_BL: Ids
    similarities_BL: Similarities
    refilled: int


def group_duplicates(
    *,
    hashes: Sequence[Hashable],
    lists: Iterable[tuple[Ids, Similarities]],
    threshold: float,
    phashes_N: NDArray[np.uint64] | None = None,
    has_phash_N: NDArray[np.bool_] | None = None,
) -> Duplicates:
    """Group rows with equal bytes and rows that show the same image; copies of copies are one group.

    Two rows show the same image if their cosine is at least `threshold`, their perceptual hashes differ in at
    most MAX_BIT_DISTANCE of 64 bits, and one is in the other's list. Without perceptual hashes only the
    cosine decides: that is right for an encoder whose cosines tell images apart, and wrong for one that
    only tells apart what the images show. If one of two rows has no perceptual hash, a cosine of at least
    SAME_VECTOR replaces that comparison.

    hashes: a hash of each row's image bytes. phashes_N: the perceptual hashes (`encoders.perceptual_hash`).
    has_phash_N: which rows have a perceptual hash; None means all. lists: neighbour lists, ids and
    similarities [n, K], shard by shard, so that one shard's lists are in memory at a time. The groups depend
    only on which pairs are copies. Above a threshold of 1 only equal bytes count. Cosines are compared as
    given: just below 1, float16 has steps of 0.0005.

    Raises ValueError when there is not one list per hash.
    """
    parents_N = _first_with_equal_hash(hashes)
    exact = int((parents_N != np.arange(len(hashes))).sum())
    start = saturated = 0
    for ids_BK, similarities_BK in lists:
        similar_BK = (ids_BK != NO_NEIGHBOUR) & (similarities_BK >= threshold)
        rows_E, columns_E = np.nonzero(similar_BK)
        pairs_E2 = np.stack([rows_E + start, ids_BK[rows_E, columns_E]], axis=1)
        if phashes_N is not None:
            bits_E = np.bitwise_count(phashes_N[pairs_E2[:, 0]] ^ phashes_N[pairs_E2[:, 1]])
            is_copy_E = bits_E <= MAX_BIT_DISTANCE
            if has_phash_N is not None:
                same_vector_E = similarities_BK[rows_E, columns_E] >= SAME_VECTOR
                is_copy_E = np.where(has_phash_N[pairs_E2].all(axis=1), is_copy_E, same_vector_E)
            pairs_E2 = pairs_E2[is_copy_E]
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
    embeddings: Sequence[Halves],
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
    """Cut raw neighbour lists [B, K] to `count` images that are no copies of each other or of the anchor.

    Of every group it keeps the most similar member, the lowest id of equally similar ones. A row with fewer
    than `count` left is searched again, exactly, among all rows. So the result is that of `top_neighbours`
    with `groups_N`, for any K, in the precision of `similarities_BK`. Few rows need the second search if K
    exceeds `count` by the usual number of copies; `refilled` counts them.
    """
    anchors_B = np.asarray(anchors, np.int64)
    ids_BL = np.full((len(anchors_B), count), NO_NEIGHBOUR, np.int64)
    similarities_BL = np.zeros((len(anchors_B), count), similarities_BK.dtype)
    kept_BK = _first_of_each_group(ids_BK, groups_N, groups_N[anchors_B])
    for kept_K, list_K, list_similarities_K, ids_L, similarities_L in zip(
        kept_BK, ids_BK, similarities_BK, ids_BL, similarities_BL, strict=True
    ):
        columns = np.flatnonzero(kept_K)[:count]
        ids_L[: len(columns)] = list_K[columns]
        similarities_L[: len(columns)] = list_similarities_K[columns]
    # A list that is not full already holds the whole dataset: a second search would find no more.
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
    """Which entries of the lists are the first member of a group other than the anchor's own."""
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
        (first.setdefault(digest, row) for row, digest in enumerate(hashes)), np.int64, len(hashes)
    )


def _root(parents_N: Ids, row: int) -> int:
    while parents_N[row] != row:
        parents_N[row] = parents_N[parents_N[row]]
        row = int(parents_N[row])
    return row


def _join(parents_N: Ids, a: int, b: int) -> None:
    low, high = sorted((_root(parents_N, a), _root(parents_N, b)))
    parents_N[high] = low
