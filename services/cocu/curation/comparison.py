"""The differences between the archives of two curations of the same images.

A sample's change is the footrule distance of its two ranked lists, with every concept that a list lacks
placed just behind the longer one (the induced footrule F^(l+1) of Fagin, Kumar and Sivakumar, "Comparing top
k lists", 2003), divided by the distance of two lists of these lengths without a common concept. It is 0 for
equal lists and 1 for lists without a common concept. A change near the top weighs more than one at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Floats, Ids, Ints
from cocu.curation.ragged import owners

__all__ = ["Comparison", "Ranked", "combine", "compare"]


@dataclass(frozen=True)
class Ranked:
    """The concepts of B images, best first and each at most once within an image, in compressed rows."""

    offsets_B1: Ids
    concepts_C: Ints


@dataclass(frozen=True)
class Comparison:
    """Two curations side by side, by sample and by concept.

    change_B: 0 to 1, as above. correlation_B: Spearman's of the ranks of the concepts that both lists have,
    NaN where they share fewer than two. shared_B, gained_B, lost_B: concepts in both, in the second alone, in
    the first alone. first_V, second_V: archives that hold each concept. gained_V, lost_V: archives that hold
    it in the second, or the first, alone.
    """

    change_B: NDArray[np.float64]
    correlation_B: NDArray[np.float64]
    shared_B: Ids
    gained_B: Ids
    lost_B: Ids
    first_V: Ids
    second_V: Ids
    gained_V: Ids
    lost_V: Ids


def compare(first: Ranked, second: Ranked, *, concepts: int) -> Comparison:
    """Compare two curations of the same B images over the same V concepts.

    concepts: V. Swapping the two curations swaps gained and lost concepts and changes nothing else.

    Raises ValueError when the curations differ in their number of images, a concept is out of range, or an
    archive lists a concept twice.
    """
    images = len(first.offsets_B1) - 1
    if len(second.offsets_B1) - 1 != images:
        raise ValueError(f"{images} archives against {len(second.offsets_B1) - 1}")
    keys_C, keys_D = _keys(first, concepts), _keys(second, concepts)
    _, shared_C, shared_D = np.intersect1d(keys_C, keys_D, assume_unique=True, return_indices=True)
    lost_C, gained_D = np.ones(len(keys_C), bool), np.ones(len(keys_D), bool)
    lost_C[shared_C], gained_D[shared_D] = False, False
    owners_C, owners_D = owners(first.offsets_B1), owners(second.offsets_B1)
    shared_B = np.bincount(owners_C[shared_C], minlength=images)
    return Comparison(
        change_B=_change(first, second, shared_C, shared_D, lost_C, gained_D),
        correlation_B=_spearman(owners_C[shared_C], _order(shared_C), _order(shared_D), shared_B),
        shared_B=shared_B,
        gained_B=np.bincount(owners_D[gained_D], minlength=images),
        lost_B=np.bincount(owners_C[lost_C], minlength=images),
        first_V=np.bincount(first.concepts_C, minlength=concepts),
        second_V=np.bincount(second.concepts_C, minlength=concepts),
        gained_V=np.bincount(second.concepts_C[gained_D], minlength=concepts),
        lost_V=np.bincount(first.concepts_C[lost_C], minlength=concepts),
    )


def combine(parts: Sequence[Comparison]) -> Comparison:
    """Combine the comparisons of several shards: samples in the order given, concepts added up.

    Raises ValueError when there are no parts.
    """
    if not parts:
        raise ValueError("there is nothing to combine")
    values = {}
    for field in fields(Comparison):
        of_parts = [getattr(part, field.name) for part in parts]
        by_concept = field.name.endswith("_V")
        values[field.name] = np.sum(of_parts, axis=0) if by_concept else np.concatenate(of_parts)
    return Comparison(**values)


def _keys(ranked: Ranked, concepts: int) -> Ids:
    """Image and concept of every entry as one number."""
    if len(ranked.concepts_C) and not 0 <= ranked.concepts_C.min() <= ranked.concepts_C.max() < concepts:
        raise ValueError(f"a concept is not among the {concepts}")
    keys_C = owners(ranked.offsets_B1) * concepts + ranked.concepts_C
    if len(np.unique(keys_C)) != len(keys_C):
        raise ValueError("an archive lists a concept twice")
    return keys_C


def _order(entries_S: Ids) -> Ids:
    """The position of every entry in ascending order."""
    positions_S = np.empty(len(entries_S), np.int64)
    positions_S[np.argsort(entries_S)] = np.arange(len(entries_S))
    return positions_S


def _spearman(owners_S: Ids, first_S: Ids, second_S: Ids, shared_B: Ids) -> NDArray[np.float64]:
    # Within an image both positions count from the same start, so their difference is that of the ranks.
    squares_B = np.bincount(owners_S, weights=(first_S - second_S) ** 2, minlength=len(shared_B))
    maximum_B = (shared_B.astype(np.float64) ** 3 - shared_B) / 6
    correlation_B = np.full(len(shared_B), np.nan)
    np.divide(squares_B, maximum_B, out=correlation_B, where=shared_B > 1)
    return 1 - correlation_B


def _change(
    first: Ranked,
    second: Ranked,
    shared_C: Ids,
    shared_D: Ids,
    lost_C: NDArray[np.bool_],
    gained_D: NDArray[np.bool_],
) -> NDArray[np.float64]:
    images = len(first.offsets_B1) - 1
    behind_B = np.maximum(np.diff(first.offsets_B1), np.diff(second.offsets_B1))
    owners_C, owners_D = owners(first.offsets_B1), owners(second.offsets_B1)
    ranks_C = np.arange(len(owners_C)) - first.offsets_B1[owners_C]
    ranks_D = np.arange(len(owners_D)) - second.offsets_B1[owners_D]
    to_end_C, to_end_D = behind_B[owners_C] - ranks_C, behind_B[owners_D] - ranks_D
    distance_B = _sums(owners_C[shared_C], np.abs(ranks_C[shared_C] - ranks_D[shared_D]), images)
    distance_B += _sums(owners_C[lost_C], to_end_C[lost_C], images)
    distance_B += _sums(owners_D[gained_D], to_end_D[gained_D], images)
    maximum_B = _sums(owners_C, to_end_C, images) + _sums(owners_D, to_end_D, images)
    return np.divide(distance_B, maximum_B, out=np.zeros(images), where=maximum_B > 0)


def _sums(owners_S: Ids, values_S: Floats | Ids, images: int) -> NDArray[np.float64]:
    # bincount of an empty array returns integers, whatever the type of the weights.
    return np.bincount(owners_S, weights=values_S, minlength=images).astype(np.float64)
