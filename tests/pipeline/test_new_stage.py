"""A stage is added by a module and a row of the table, as docs/extending.md says; all else follows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pipeline.pipeline_driver import begin, drain, new_dataset, settings, some_samples, state_of

from cocu.catalog import events
from cocu.pipeline import progress, stages
from cocu.pipeline.stages import StageSpec
from cocu.platform import Platform

MODULE = '''
"""lengths: of a shard, how many bytes each archive file has."""

from cocu.pipeline.context import CurationContext
from cocu.pipeline.lease import Lease
from cocu.storage import paths


def run(lease: Lease) -> None:
    """Write the size of the shard's archives."""
    context = CurationContext.of(lease.platform, lease.task.owner_key)
    shard = context.shard(lease.task.target)
    size = lease.platform.objects.size(paths.archives(context.curation.id, shard.shard_id))
    lease.advance(shard.samples)
    lease.platform.objects.put(f"curations/{context.curation.id}/lengths/{shard.shard_id}", b"%d" % size)
'''

FAILING = """
def run(lease):
    raise ValueError("it cannot be done")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a module lies as if it were in `pipeline/stages`."""
    folder = tmp_path / "stages"
    folder.mkdir()
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(folder)])
    yield folder
    sys.modules.pop("cocu.pipeline.stages.lengths", None)


def with_row(monkeypatch: pytest.MonkeyPatch, spec: StageSpec, *, before: str) -> None:
    """The table with one row more."""
    rows: list[StageSpec] = []
    for row in stages.STAGES.values():
        rows += [spec, row] if row.name == before else [row]
    monkeypatch.setattr(stages, "STAGES", {row.name: row for row in rows})


def curated(
    folder: Path, encoders: Path, **changes: object
) -> tuple[str, str | None, dict[str, tuple[int, int]], list[str], list[str]]:
    """State, content hash, (done, total) by stage, stages of the events, objects of a finished run."""
    with Platform.open(settings(folder, encoders, samples_per_shard=5, max_failures=1)) as platform:
        dataset = new_dataset(platform, some_samples(10))
        drain(platform)
        run = begin(platform, dataset, **changes)
        drain(platform)
        run = state_of(platform, run)
        stage_progress = progress.of_curation(platform.catalog, tenant=run.tenant, curation_id=run.id)
        told = events.since(platform.catalog, tenant=run.tenant, curation_id=run.id)
        return (
            run.state,
            run.content_hash,
            {stage.stage: (stage.done, stage.total) for stage in stage_progress},
            [str(event.data["stage"]) for event in told if event.kind == "stage"],
            [path for path in platform.objects.list() if "/lengths/" in path],
        )


def test_stage_on_shards__is_planned_run_and_shown(
    folder: Path, tmp_path: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, without, _, _, _ = curated(tmp_path / "without", encoders)
    (folder / "lengths.py").write_text(MODULE)
    with_row(monkeypatch, StageSpec(name="lengths", unit="shard"), before="publish")
    state, content_hash, shown, told, files = curated(tmp_path / "with", encoders)

    assert state == "completed"
    assert content_hash == without
    assert list(shown) == [
        "embed",
        "index",
        "neighbours",
        "aggregate",
        "curate",
        "lengths",
        "publish",
        "index_concepts",
    ]
    assert shown["lengths"] == (2, 2)
    assert told == ["neighbours", "aggregate", "curate", "lengths", "publish"]
    assert len(files) == 2


def test_stage_of_some_runs__is_left_out_of_the_others(
    folder: Path, tmp_path: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lengths.py").write_text(MODULE)
    spec = StageSpec(name="lengths", unit="shard", when=lambda parameters, samples: parameters.seed == 7)
    with_row(monkeypatch, spec, before="publish")

    assert curated(tmp_path / "with", encoders, seed=7)[2]["lengths"] == (2, 2)
    assert "lengths" not in curated(tmp_path / "without", encoders, seed=8)[2]


def test_stage_beside_another__spoils_no_run(
    folder: Path, tmp_path: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lengths.py").write_text(FAILING)
    with_row(monkeypatch, StageSpec(name="lengths", unit="shard", beside="curate"), before="publish")
    state, _, shown, told, _ = curated(tmp_path / "data", encoders)

    assert state == "completed"
    assert shown["lengths"] == (0, 2)
    assert "lengths" not in told
