"""Positions by UMAP: from neighbour lists, in a process of its own; of very many images, landmarks first.

Up to LANDMARKS images are all laid out together. Of more, so many are drawn at random and laid out, and each
of the others stands at the weighted mean of the nearest of them. Sources: McInnes, Healy, Melville, UMAP
(2018); de Silva, Tenenbaum, Sparse multidimensional scaling using landmark points (2004).
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.curation.randomness import permutation, seed_of
from cocu.errors import InvalidInputError, MachineError
from cocu.neighbours import ivf
from cocu.neighbours.exact import top_neighbours
from cocu.neighbours.matrix import Float32s, Ids
from cocu.projections.positions import Images, principal_positions
from cocu.projections.umap_process import NOT_INSTALLED

LANDMARKS = 100_000
NEIGHBOURS = 15
"""The length of a neighbour list, the image itself included: what umap-learn takes by default."""
NEAREST = 5
"""The landmarks whose mean is the place of another image."""
EXACT = 20_000
"""Up to so many landmarks neighbours are searched exactly, among more in the cells of an inverted file."""
RECALL = 0.95
FARTHEST = 2.0
"""The largest cosine distance, in place of an infinite one that umap-learn would average."""
EXTENT = 10.0
"""The extent of the positions that the layout begins with; umap-learn scales its own in the same way."""

_BLOCK = 8192
_SECONDS = 0.5

Halves = NDArray[np.float16]


def umap_positions(images: Images) -> Float32s:
    """Return the positions of the shown images, float32 [P, 2].

    Memory: an embedding for each landmark, twice where there are more than EXACT, 16 bytes for each image,
    and in the process of umap-learn about 6 kB for each landmark. Raises InvalidInputError without
    umap-learn, MachineError where its process is killed.
    """
    initial_P2 = principal_positions(images)
    count = len(initial_P2)
    if count <= 2:
        return initial_P2
    landmarks_L = np.arange(count)
    if count > LANDMARKS:
        landmarks_L = np.sort(permutation(seed_of("landmarks", images.seed), count)[:LANDMARKS])
    lists = _known_lists(images) if len(landmarks_L) == count else None
    index = None
    if lists is None:
        index = _LandmarkIndex.of(images, landmarks_L)
        lists = index.lists(min(NEIGHBOURS, len(landmarks_L)) - 1)
    placed_L2 = _lay_out(images, initial_P2[landmarks_L], *lists)
    if index is None or len(landmarks_L) == count:
        return placed_L2
    positions_P2 = np.empty((count, 2), np.float32)
    positions_P2[landmarks_L] = placed_L2
    others_O = np.setdiff1d(np.arange(count), landmarks_L, assume_unique=True)
    for start in range(0, len(others_O), _BLOCK):
        part_Q = others_O[start : start + _BLOCK]
        near = index.nearest(images.rows.gather(images.shown[part_Q]), NEAREST)
        positions_P2[part_Q] = weighted_means(placed_L2, *near)
        images.advance(0)
    return positions_P2


def weighted_means(placed_L2: Float32s, ids_QK: Ids, similarities_QK: Float32s) -> Float32s:
    """Return the mean position of the landmarks of each list, the more similar ones with more weight.

    ids_QK: landmarks, most similar first, NO_NEIGHBOUR where there are fewer, at least one. The weights are
    those of UMAP's graph: exp(-(d - d₀) / σ), where d is the cosine distance, d₀ that of the nearest
    landmark, and σ here the mean of d - d₀.
    """
    is_there_QK = ids_QK != NO_NEIGHBOUR
    beyond_QK = np.where(is_there_QK, similarities_QK[:, :1] - similarities_QK, 0.0)
    sigma_Q1 = beyond_QK.sum(axis=1, keepdims=True) / is_there_QK.sum(axis=1, keepdims=True)
    weights_QK = np.where(is_there_QK, np.exp(-beyond_QK / np.maximum(sigma_Q1, 1e-9)), 0.0)
    weights_QK /= weights_QK.sum(axis=1, keepdims=True)
    means_Q2: Float32s = np.einsum("qk,qkd->qd", weights_QK, placed_L2[ids_QK]).astype(np.float32)
    return means_Q2


def _known_lists(images: Images) -> tuple[Ids, Float32s] | None:
    """Return the lists that are known, [P, K] by positions among the shown images; None where too short."""
    lists = images.find_lists()
    count = min(NEIGHBOURS, len(images.shown)) - 1
    if lists is None or lists[0].shape[1] < count:
        return None
    ids_PK, similarities_PK = lists[0][images.shown], lists[1][images.shown]
    places_N = np.full(len(images.rows), NO_NEIGHBOUR, np.int64)
    places_N[images.shown] = np.arange(len(images.shown))
    ids_PK = np.where(ids_PK == NO_NEIGHBOUR, NO_NEIGHBOUR, places_N[ids_PK])
    # Images without an embedding leave gaps; what follows moves to the front and keeps its order.
    order_PK = np.argsort(ids_PK == NO_NEIGHBOUR, axis=1, kind="stable")[:, :count]
    return (
        np.take_along_axis(ids_PK, order_PK, axis=1),
        np.take_along_axis(similarities_PK, order_PK, axis=1).astype(np.float32),
    )


@dataclass(frozen=True)
class _LandmarkIndex:
    """The embeddings of the landmarks, and where there are many an inverted file of them."""

    halves_LD: Halves
    ivf: ivf.IvfIndex | None
    ordered_LD: Halves
    nprobe: int
    threads: int

    @classmethod
    def of(cls, images: Images, landmarks_L: Ids) -> _LandmarkIndex:
        halves_LD = np.empty((len(landmarks_L), images.rows.dim), np.float16)
        for start in range(0, len(landmarks_L), _BLOCK):
            part = slice(start, start + _BLOCK)
            halves_LD[part] = images.rows.gather(images.shown[landmarks_L[part]])
            images.advance(0)
        if len(landmarks_L) <= EXACT:
            return cls(halves_LD, None, halves_LD, 0, images.threads)
        cells = ivf.cell_count(len(landmarks_L))
        index = ivf.build([halves_LD], cells=cells, seed=images.seed, threads=images.threads)
        images.advance(0)
        ordered_LD = halves_LD[index.ids_N]
        probing = ivf.choose_nprobe(index, ordered_LD, [halves_LD], count=NEIGHBOURS, recall=RECALL)
        images.advance(0)
        return cls(halves_LD, index, ordered_LD, probing.nprobe, images.threads)

    def lists(self, count: int) -> tuple[Ids, Float32s]:
        """Return the nearest landmarks of each landmark, without itself: ids and similarities [L, count]."""
        rows_L = np.arange(len(self.halves_LD))
        if self.ivf is None:
            return top_neighbours([self.halves_LD], rows_L, count=count, threads=self.threads)
        ids_LK = np.empty((len(rows_L), count), np.int64)
        similarities_LK = np.empty((len(rows_L), count), np.float32)
        for start in range(0, len(rows_L), _BLOCK):
            part = slice(start, start + _BLOCK)
            queries_QD = self.halves_LD[part].astype(np.float32)
            ids_LK[part], similarities_LK[part] = self._search(queries_QD, rows_L[part], count)
        return ids_LK, similarities_LK

    def nearest(self, queries_QD: Float32s, count: int) -> tuple[Ids, Float32s]:
        """Return the nearest landmarks of other images."""
        return self._search(queries_QD, np.full(len(queries_QD), NO_NEIGHBOUR, np.int64), count)

    def _search(self, queries_QD: Float32s, own_Q: Ids, count: int) -> tuple[Ids, Float32s]:
        assert self.ivf is not None
        return ivf.search(
            self.ivf,
            self.ordered_LD,
            queries_QD,
            own_Q,
            count=count,
            nprobe=self.nprobe,
            threads=self.threads,
        )


def _lay_out(images: Images, initial_L2: Float32s, ids_LK: Ids, similarities_LK: Float32s) -> Float32s:
    """Lay out the images with these lists. An image is the first in its own list there, at distance 0."""
    itself_L1 = np.arange(len(ids_LK))[:, None]
    distances_LK = np.where(ids_LK == NO_NEIGHBOUR, FARTHEST, np.clip(1.0 - similarities_LK, 0.0, None))
    extent = float(np.abs(initial_L2).max())
    # Rounded: the layout is chaotic, and the last digits of a sum may differ between numbers of threads.
    initial_L2 = np.round(initial_L2 * (EXTENT / extent if extent > 0 else 0.0), 3)
    # A file, not a pipe: `communicate` with a timeout forgets the rest of what a slow process has not read.
    with tempfile.TemporaryFile() as source:
        np.savez(
            source,
            init_L2=initial_L2.astype(np.float32),
            ids_LK=np.hstack([itself_L1, ids_LK]).astype(np.int32),
            distances_LK=np.hstack([np.zeros(itself_L1.shape), distances_LK]).astype(np.float32),
            seed=np.array(images.seed),
        )
        source.seek(0)
        return _compute(images, source, len(initial_L2))


def _compute(images: Images, source: IO[bytes], count: int) -> Float32s:
    """Give arrays to the process and return its positions, float32 [count, 2]; end it with this work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cocu.projections.umap_process"],
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        output, errors = _communicate(images, process)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode == NOT_INSTALLED:
        raise InvalidInputError(
            "a projection by umap needs the package umap-learn where the workers run: pip install "
            "'cocu[projection]'; or ask for method pca"
        )
    if process.returncode < 0:
        # No outage, which a task would wait for: more attempts come to the same while memory is short.
        raise MachineError(
            f"the process of umap-learn was killed by signal {-process.returncode}, perhaps for its memory "
            f"(about 6 kB for each of {count} images); give the worker more, or ask for method pca"
        )
    if process.returncode:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"umap-learn failed: {last or f'exit status {process.returncode}'}")
    positions_L2: Float32s = np.load(io.BytesIO(output), allow_pickle=False)
    if positions_L2.shape != (count, 2):
        raise RuntimeError(f"umap-learn returned positions of shape {positions_L2.shape}, not {(count, 2)}")
    return positions_L2


def _communicate(images: Images, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    while True:
        try:
            return process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            images.advance(0)
