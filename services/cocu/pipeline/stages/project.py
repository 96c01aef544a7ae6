"""project: the embeddings of a dataset → a map of its images, for pages. Nothing waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from cocu.catalog import projections
from cocu.catalog.projections import ProjectedShard
from cocu.curation.archives import Ids
from cocu.curation.randomness import permutation, seed_of
from cocu.pipeline.lease import Lease
from cocu.pipeline.projected_lists import find_lists
from cocu.projections import positions, regions
from cocu.projections.methods import METHODS
from cocu.projections.positions import Images
from cocu.storage import arrays, paths
from cocu.storage.embedding_files import EmbeddingFiles, EmbeddingPart


def run(lease: Lease) -> None:
    """Write the points of a projection in a random order, and store its regions.

    Memory: 40 bytes for each image, and what the method needs.
    """
    platform = lease.platform
    record = projections.of_task(platform.catalog, projection_id=lease.task.target)
    shards = projections.shards(platform.catalog, projection_id=record.id)
    parts = [
        EmbeddingPart(
            paths.embeddings(record.dataset_id, record.encoder_hash, shard.shard_id),
            shard.samples,
            shard.revision,
        )
        for shard in shards
    ]
    # Half of the units are those of the first positions; how long the rest takes depends on the method.
    images = Images(
        embeddings=EmbeddingFiles(platform.objects).of(parts),
        seed=record.seed,
        find_lists=lambda: find_lists(platform, record, shards),
        advance=lambda units: lease.advance(units // 2),
        threads=platform.settings.cores,
    )
    grid_P2 = positions.to_grid(METHODS[record.method](images))
    regions_P = regions.split(images)
    lease.advance()
    order_P = permutation(seed_of("projection", record.seed), len(grid_P2))
    grid_P2 = grid_P2[order_P]
    arrays.write_arrays(
        platform.objects,
        paths.projection_points(record.dataset_id, record.id),
        {
            "x_P": grid_P2[:, 0],
            "y_P": grid_P2[:, 1],
            "rows_P": _global_rows(shards, images.shown)[order_P].astype(np.uint32),
            "regions_P": regions_P[order_P],
        },
    )
    described = regions.describe(regions_P[order_P], grid_P2)
    projections.store_result(
        platform.catalog,
        projection_id=record.id,
        points=len(grid_P2),
        regions=[asdict(region) for region in described],
    )


def _global_rows(shards: Sequence[ProjectedShard], ids_P: Ids) -> Ids:
    """Return the rows in the dataset of rows among the shards of the projection, int64 [P]."""
    starts_S = np.cumsum([0, *(shard.samples for shard in shards)])[:-1]
    shards_P = np.searchsorted(starts_S, ids_P, side="right") - 1
    offsets_S = np.array([shard.first_row for shard in shards], np.int64) - starts_S
    rows_P: Ids = ids_P + offsets_S[shards_P]
    return rows_P
