"""Regions: k-means cells of the image space, the largest first, and where each stands on a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.neighbours.ivf import build
from cocu.neighbours.matrix import Ids
from cocu.projections.positions import Grid, Images

MOST = 64
"""The most regions of a projection."""
PICTURES = 32
"""Pictures that there are at least for each region on average: fewer say little about a place."""


@dataclass(frozen=True)
class Region:
    """A region: its number of pictures, and the middle of them, the median of each coordinate."""

    pictures: int
    x: int
    y: int


def split(images: Images) -> NDArray[np.uint8]:
    """Return the region of every shown image, uint8 [P]: region 0 has most pictures, ties by cell.

    The cells are those of `neighbours.ivf.build`: the same images and seed give the same regions. Cells
    without a shown image are left out, so regions are numbered without gaps.
    """
    count = max(1, min(MOST, len(images.shown) // PICTURES))
    index = build(images.embeddings, cells=count, seed=images.seed, threads=images.threads)
    cells_N = np.empty(len(images.rows), np.int64)
    cells_N[index.ids_N] = np.repeat(np.arange(count), np.diff(index.offsets_K1))
    cells_P = cells_N[images.shown]
    order_K = np.argsort(-np.bincount(cells_P, minlength=count), kind="stable")
    regions_K = np.empty(count, np.uint8)
    regions_K[order_K] = np.arange(count)
    return regions_K[cells_P]


def describe(regions_P: NDArray[np.uint8], grid_P2: Grid) -> list[Region]:
    """Return each region, by number; none without points."""
    if not len(regions_P):
        return []
    order_P: Ids = np.argsort(regions_P, kind="stable")
    edges_R1 = np.searchsorted(regions_P[order_P], np.arange(int(regions_P.max(initial=0)) + 2))
    regions: list[Region] = []
    for first, last in zip(edges_R1[:-1].tolist(), edges_R1[1:].tolist(), strict=True):
        members_M2 = grid_P2[order_P[first:last]]
        x, y = (int(value) for value in np.median(members_M2, axis=0)) if last > first else (0, 0)
        regions.append(Region(pictures=last - first, x=x, y=y))
    return regions
