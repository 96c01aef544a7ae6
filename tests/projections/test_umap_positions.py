"""Positions by umap: lists that are given, images without an embedding, landmarks for very many."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.projections import umap_positions
from cocu.projections.positions import Images, principal_positions, to_grid
from cocu.projections.umap_positions import weighted_means


def blobs(count: int) -> NDArray[np.float16]:
    """Points around ten centres in 32 dimensions; the eighth has no embedding."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((10, 32))
    points = centres[random.integers(0, 10, count)] + 0.5 * random.standard_normal((count, 32))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[7] = 0
    return points.astype(np.float16)


@pytest.mark.slow
def test_umap_positions__of_landmarks_keep_neighbours_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(umap_positions, "LANDMARKS", 400)
    monkeypatch.setattr(umap_positions, "EXACT", 200)
    embeddings_ND = blobs(900)
    steps: list[int] = []
    images = Images(embeddings=[embeddings_ND[:300], embeddings_ND[300:]], seed=1, advance=steps.append)
    positions_P2 = umap_positions.umap_positions(images)

    shown_PD = np.delete(embeddings_ND, 7, axis=0).astype(np.float64)
    assert positions_P2.shape == (899, 2)
    assert np.isfinite(positions_P2).all()
    trust = trustworthiness(shown_PD, positions_P2, n_neighbors=10, metric="cosine")
    by_pca = trustworthiness(shown_PD, principal_positions(images), n_neighbors=10, metric="cosine")
    assert trust > by_pca
    assert trust > 0.85
    assert len(steps) > 5, "it can be stopped meanwhile"


def test_weighted_means__lie_among_the_landmarks_and_nearer_to_the_nearer() -> None:
    placed_L2 = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
    ids_QK = np.array([[1, 0, NO_NEIGHBOUR], [2, NO_NEIGHBOUR, NO_NEIGHBOUR], [0, 1, 2]])
    similarities_QK = np.array([[0.9, 0.5, 0.0], [0.3, 0.0, 0.0], [0.5, 0.5, 0.5]], np.float32)
    means_Q2 = weighted_means(placed_L2, ids_QK, similarities_QK)

    assert 5 < means_Q2[0, 0] < 10
    assert means_Q2[0, 1] == 0
    assert means_Q2[1].tolist() == [0, 10]
    np.testing.assert_allclose(means_Q2[2], [10 / 3, 10 / 3], rtol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_positions__of_hardly_any_images(count: int) -> None:
    embeddings_ND = np.eye(4, dtype=np.float16)[:count]
    images = Images(embeddings=[np.zeros((1, 4), np.float16), embeddings_ND], seed=0)
    positions_P2 = umap_positions.umap_positions(images)
    grid_P2 = to_grid(positions_P2)

    assert positions_P2.shape == grid_P2.shape == (count, 2)
    if count == 2:
        assert sorted(grid_P2[:, 0].tolist()) == [0, 65_535]
