"""The methods that give images their positions, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cocu.neighbours.matrix import Float32s
from cocu.projections.positions import Images, principal_positions
from cocu.projections.umap_positions import umap_positions

METHODS: Mapping[str, Callable[[Images], Float32s]] = {"pca": principal_positions, "umap": umap_positions}
