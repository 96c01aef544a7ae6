"""A snapshot that is searched with an IVF index: one more stage, and lists with the promised recall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pipeline.pipeline_driver import begin, drain, new_dataset, settings, some_samples, state_of

from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord
from cocu.pipeline import progress
from cocu.pipeline.stages import ivf
from cocu.platform import Platform
from cocu.storage import arrays, paths

SAMPLES = some_samples(150)


def curated(folder: Path, encoders: Path, **changes: Any) -> tuple[CurationRecord, list[str], np.ndarray]:
    """The finished curation, its stages, and the lists of all its samples."""
    with Platform.open(settings(folder, encoders, samples_per_shard=40)) as platform:
        dataset_id = new_dataset(platform, SAMPLES)
        drain(platform)
        curation = begin(platform, dataset_id, **changes)
        drain(platform)
        curation = state_of(platform, curation)
        stages = progress.of_curation(platform.catalog, tenant=curation.tenant, curation_id=curation.id)
        shards = curations.shards(platform.catalog, curation_id=curation.id)
        lists = [
            arrays.read_arrays(platform.objects, paths.neighbours(curation.id, shard.shard_id))["ids_NK"]
            for shard in shards
        ]
        return curation, [stage.stage for stage in stages], np.concatenate(lists)


def test_a_search_in_cells_has_one_more_stage_and_the_promised_recall(
    tmp_path: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures of noise have no structure: to find nearly all neighbours takes every cell.
    monkeypatch.setattr(ivf, "RECALL", 0.5)
    exact, stages, exact_NK = curated(tmp_path / "exact", encoders, neighbours=4)
    split, more_stages, split_NK = curated(tmp_path / "ivf", encoders, neighbours=4, search="ivf")
    assert exact.state == split.state == "completed"
    assert "ivf" not in stages
    assert more_stages == [
        "embed",
        "index",
        "ivf",
        "neighbours",
        "aggregate",
        "curate",
        "publish",
        "index_concepts",
    ]
    assert exact.statistics is not None
    assert split.statistics is not None
    assert exact.statistics["neighbour_recall"] == 1.0
    overlap = np.mean([np.isin(a, b).mean() for a, b in zip(split_NK, exact_NK, strict=True)])
    # All 150 rows are in the sample, so that the promised recall is the real one, but for ties.
    assert overlap >= 0.49
    assert abs(overlap - split.statistics["neighbour_recall"]) < 0.02
    assert split.statistics["cells_probed"] < 16


def test_a_search_in_cells_is_reproducible(tmp_path: Path, encoders: Path) -> None:
    first, _, _ = curated(tmp_path / "first", encoders, search="ivf")
    second, _, _ = curated(tmp_path / "second", encoders, search="ivf")
    assert first.content_hash == second.content_hash
