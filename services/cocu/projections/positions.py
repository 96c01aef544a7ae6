"""Positions of images on a plane, and the grid of 16-bit numbers that is stored.

`pca` takes the two directions in which the embeddings vary most: fast, the same for every seed, and good at
the coarse shape. `umap` keeps neighbours together (McInnes, Healy, Melville 2018) and begins with the
positions of `pca`, which keeps its coarse shape too (Kobak, Linderman 2021, Initialization is critical).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.neighbours.matrix import Float32s, Float64s, Halves, Ids, Rows

__all__ = ["LARGEST", "Grid", "Images", "principal_positions", "to_grid"]

Grid = NDArray[np.uint16]

LARGEST = 65_535
"""The largest coordinate of the grid."""

_TILE = 4096


def _nothing(images: int) -> None:
    """Tell nobody."""


def _no_lists() -> None:
    """There are no lists."""


@dataclass(frozen=True)
class Images:
    """What is to be shown: the embeddings of N images, float16 [n, D] for each shard, and a seed.

    find_lists: returns neighbour lists of all N images, ids and similarities [N, K], most similar first,
    padded with NO_NEIGHBOUR; or None. advance: called with the number of images that were processed, of N in
    all; it may raise to stop the work. threads: 0 for one per usable core.
    """

    embeddings: Sequence[Halves]
    seed: int
    find_lists: Callable[[], tuple[Ids, NDArray[np.floating[Any]]] | None] = _no_lists
    advance: Callable[[int], None] = field(default=_nothing, repr=False)
    threads: int = 0

    @cached_property
    def rows(self) -> Rows:
        """All rows."""
        return Rows(self.embeddings)

    @cached_property
    def shown(self) -> Ids:
        """The rows that are shown, ascending: those with an embedding; others are zeros. int64 [P]."""
        parts = [np.zeros(0, np.int64)]
        for start, tile_TD in self.rows.tiles(_TILE):
            parts.append(start + np.flatnonzero(tile_TD.any(axis=1)))
            self.advance(0)
        return np.concatenate(parts)


def principal_positions(images: Images) -> Float32s:
    """Return the positions of the shown images along the two principal axes, float32 [P, 2].

    The first axis is that of the largest variance. An axis points to where its largest component is positive.
    Memory: D² numbers beside the result, whatever N.
    """
    ids_P = images.shown
    shown_N = np.zeros(len(images.rows), bool)
    shown_N[ids_P] = True
    sum_D: Float64s = np.zeros(images.rows.dim)
    moment_DD: Float64s = np.zeros((images.rows.dim, images.rows.dim))
    for _, tile_TD in images.rows.tiles(_TILE):
        exact_TD = tile_TD.astype(np.float64)
        sum_D += exact_TD.sum(axis=0)
        moment_DD += exact_TD.T @ exact_TD
        images.advance(len(tile_TD) // 2)
    mean_D = sum_D / max(len(ids_P), 1)
    axes_2D = _principal_axes(moment_DD / max(len(ids_P), 1) - np.outer(mean_D, mean_D))
    positions_P2 = np.empty((len(ids_P), 2), np.float32)
    placed = 0
    for start, tile_TD in images.rows.tiles(_TILE):
        shown_T = shown_N[start : start + len(tile_TD)]
        part_T2 = (tile_TD[shown_T] - mean_D) @ axes_2D.T
        positions_P2[placed : placed + len(part_T2)] = part_T2
        placed += len(part_T2)
        images.advance(len(tile_TD) // 2)
    return positions_P2


def _principal_axes(covariance_DD: Float64s) -> Float64s:
    _, vectors_DD = np.linalg.eigh(covariance_DD)
    axes_2D = np.zeros((2, len(covariance_DD)))
    kept = vectors_DD[:, ::-1][:, :2].T
    axes_2D[: len(kept)] = kept
    # The sign of an eigenvector is arbitrary, and differs between libraries.
    largest_2 = np.take_along_axis(axes_2D, np.abs(axes_2D).argmax(axis=1)[:, None], axis=1)
    return axes_2D * np.where(largest_2 < 0, -1.0, 1.0)


def to_grid(positions_P2: Float32s) -> Grid:
    """Return positions as 16-bit numbers, uint16 [P, 2]: both axes by the same factor, in the middle.

    The longer axis goes from 0 to LARGEST. Raises ValueError for positions that are not finite.
    """
    if not np.isfinite(positions_P2).all():
        raise ValueError("positions must be finite")
    if not len(positions_P2):
        return np.zeros((0, 2), np.uint16)
    exact_P2 = positions_P2.astype(np.float64)
    low_2, high_2 = exact_P2.min(axis=0), exact_P2.max(axis=0)
    extent = float((high_2 - low_2).max())
    scaled_P2 = (exact_P2 - (low_2 + high_2) / 2) * (LARGEST / extent if extent > 0 else 0.0)
    grid_P2: Grid = np.clip(np.rint(scaled_P2 + LARGEST / 2), 0, LARGEST).astype(np.uint16)
    return grid_P2
