"""Shards of scenes: readable by others, the truth beside the images, the same bytes every time."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import numpy as np
import pytest
import webdataset

import cocu_scenes

COUNT, SHARDS = 30, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    cocu_scenes.write_scenes(folder, seed=5, count=COUNT, shards=SHARDS)
    return folder


# The library leaves shards to the garbage collector to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_write_scenes__webdataset_reads_what_was_generated(folder: Path) -> None:
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    assert len(shards) == SHARDS
    samples = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil"))
    for sample, scene in zip(samples, cocu_scenes.generate(5, 0, COUNT), strict=True):
        assert sample["__key__"] == scene.key
        assert sample["txt"] == scene.caption
        assert sample["json"] == scene.metadata()
        mask = sample["mask.png"]
        assert (np.asarray(mask.convert("L") if mask.mode == "RGB" else mask) == scene.mask).all()
        difference = np.asarray(sample["jpg"], dtype=float) - np.asarray(scene.image, dtype=float)
        assert np.abs(difference).mean() < 12
    del samples, sample
    gc.collect()


def test_write_scenes__table_holds_the_labels_of_all(folder: Path) -> None:
    table = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    assert tuple(table["labels"]) == cocu_scenes.class_names()
    assert table["samples"] == {scene.key: list(scene.labels) for scene in cocu_scenes.generate(5, 0, COUNT)}


def test_write_scenes__writes_the_same_bytes_again(folder: Path, tmp_path: Path) -> None:
    cocu_scenes.write_scenes(tmp_path, seed=5, count=COUNT, shards=SHARDS)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize(("count", "shards"), [(0, 1), (3, 4), (3, 0)])
def test_write_scenes__refuses_shards_that_would_be_empty(tmp_path: Path, count: int, shards: int) -> None:
    with pytest.raises(ValueError, match="do not fill"):
        cocu_scenes.write_scenes(tmp_path, seed=0, count=count, shards=shards)


def test_examples__are_what_the_generator_writes_and_small(repository: Path) -> None:
    folder = repository / "examples" / "scenes"
    table = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    assert tuple(table["labels"]) == cocu_scenes.class_names()
    assert 1000 <= len(table["samples"]) <= 2000
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10e6
    for key in list(table["samples"])[:: len(table["samples"]) // 10]:
        seed, index = (int(part) for part in key.split("-"))
        assert table["samples"][key] == list(cocu_scenes.generate_scene(seed, index).labels)
