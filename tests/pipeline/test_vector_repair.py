"""A folder of vectors that was lost, damaged or written by an earlier version is made again by itself."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pipeline.indexed_archives import assert_indexed, named
from tests.pipeline.pipeline_driver import PATIENCE, begin, drain, ingested, settings, state_of

from cocu.catalog import tasks
from cocu.catalog.curations import CurationRecord
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.pipeline.vector_repair import VectorRepair
from cocu.platform import Platform

SAID = "are not in the folder of vectors"


@pytest.fixture
def curation(tmp_path: Path, encoders: Path) -> CurationRecord:
    """Of a platform that has ended."""
    with Platform.open(settings(tmp_path / "data", encoders)) as platform:
        begun = begin(platform, ingested(platform))
        drain(platform)
        assert_indexed(platform, begun)
        return state_of(platform, begun)


def lose(folder: Path) -> None:
    shutil.rmtree(folder)


def write_local_mode(folder: Path) -> None:
    """What `qdrant-client` kept in its local mode."""
    shutil.rmtree(folder)
    (folder / "collection" / "vectors-first-0").mkdir(parents=True)
    (folder / "collection" / "vectors-first-0" / "storage.sqlite").write_bytes(b"SQLite format 3\0")
    (folder / "meta.json").write_text('{"collections": {}, "aliases": {}}')
    (folder / ".lock").write_text("tmp lock file")


def damage(folder: Path) -> None:
    """Empty every file of the engine."""
    (current,) = folder.rglob("current")
    for path in (current.parent / current.read_text()).rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


@pytest.mark.parametrize("harm", [lose, write_local_mode, damage])
def test_the_next_start_makes_it_again(
    curation: CurationRecord,
    tmp_path: Path,
    encoders: Path,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], None],
) -> None:
    harm(tmp_path / "data" / "vectors")
    with (
        caplog.at_level(logging.WARNING),
        Platform.open(settings(tmp_path / "data", encoders)) as platform,
        EmbeddedWorkers(platform),
    ):
        end = time.monotonic() + PATIENCE
        while SAID not in caplog.text or tasks.unfinished(platform.catalog):
            assert time.monotonic() < end, caplog.text
            time.sleep(0.05)
        assert_indexed(platform, curation)
    assert caplog.text.count(SAID) == 1


def test_what_is_lost_meanwhile_is_put_there_again(
    curation: CurationRecord, tmp_path: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Platform.open(settings(tmp_path / "data", encoders)) as platform:
        repair = VectorRepair(platform)
        assert repair.look() == []
        tenant, dataset = curation.tenant, curation.dataset_id
        platform.vectors.delete_dataset(tenant=tenant, dataset=dataset)
        # It looks only where the store says that something was lost.
        assert repair.look() == []
        monkeypatch.setattr(platform.vectors._backend, "lost", 1)
        assert len(repair.look()) == 2
        assert repair.look() == []
        drain(platform)
        assert repair.look() == []
        assert_indexed(platform, curation)
        assert platform.vectors.count(**named(curation)) == 8


def test_a_platform_that_has_indexed_nothing_does_not_open_the_folder(platform: Platform) -> None:
    repair = VectorRepair(platform)
    assert repair.look() == []
    ingested(platform)
    assert repair.look() == []
    assert not Path(platform.settings.vectors_url).exists()
