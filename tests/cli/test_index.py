"""`cocu index rebuild` on a platform in a folder; with a server and searches going on, see tests/faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.pipeline.pipeline_driver import TENANT, begin, drain, new_dataset, settings, some_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner

from cocu.catalog import datasets
from cocu.cli.application import app
from cocu.errors import InvalidInputError, NotFoundError, UnavailableError
from cocu.platform import Platform


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a curated dataset of a platform that has lost its vectors."""
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    with Platform.open(settings(tmp_path / "data", tmp_path / "encoders")) as platform:
        dataset_id = new_dataset(platform, some_samples(6))
        drain(platform)
        begin(platform, dataset_id)
        drain(platform)
    shutil.rmtree(tmp_path / "data" / "vectors")
    monkeypatch.setenv("COCU_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("COCU_ENCODERS_URL", str(tmp_path / "encoders"))
    monkeypatch.setenv("COLUMNS", "200")
    return dataset_id


def count(tmp_path: Path, dataset: str) -> int:
    with Platform.open(settings(tmp_path / "data", tmp_path / "encoders")) as platform:
        encoder = platform.encoders.describe().hash
        return platform.vectors.count(encoder=encoder, tenant=TENANT, dataset=dataset)


@pytest.mark.parametrize("options", [[], ["photographs"], ["--encoder", "tiny"]])
def test_rebuild__restores_what_is_lost(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    for _ in range(2):
        ended = CliRunner().invoke(app, ["index", "rebuild", "--json", *options])
        assert ended.exit_code == 0, ended.output
        (told,) = json.loads(ended.stdout.splitlines()[-1])["encoders"]
        assert (told["samples"], told["shards"], told["datasets"], told["failed"]) == (6, 1, 1, {})
        assert count(tmp_path, dataset) == 6
    monkeypatch.delenv("COCU_DATA_FOLDER")
    ended = CliRunner().invoke(app, ["index", "rebuild", dataset, "--data", str(tmp_path / "data")])
    assert "6 samples of 1 shard in the vector store" in ended.output


@pytest.mark.parametrize(
    ("options", "error", "saying"),
    [
        (["nobody"], NotFoundError, "no dataset 'nobody'"),
        (["--encoder", "nobody"], NotFoundError, "nobody"),
    ],
)
@pytest.mark.usefixtures("dataset")
def test_rebuild__of_what_is_not_there_says_so(
    options: list[str], error: type[Exception], saying: str
) -> None:
    ended = CliRunner().invoke(app, ["index", "rebuild", *options])
    assert isinstance(ended.exception, error)
    assert saying in str(ended.exception)


def test_rebuild__of_a_name_that_several_tenants_have_asks_for_the_id(dataset: str, tmp_path: Path) -> None:
    with Platform.open(settings(tmp_path / "data", tmp_path / "encoders")) as platform:
        datasets.create(platform.catalog, tenant="another", name="photographs")
    ended = CliRunner().invoke(app, ["index", "rebuild", "photographs"])
    assert isinstance(ended.exception, InvalidInputError)
    assert dataset in str(ended.exception)


@pytest.mark.usefixtures("dataset")
def test_rebuild__of_a_folder_in_use_says_so(tmp_path: Path) -> None:
    with Platform.open(settings(tmp_path / "data", tmp_path / "encoders")) as platform:
        platform.vectors.check()
        ended = CliRunner().invoke(app, ["index", "rebuild"])
    assert isinstance(ended.exception, UnavailableError)
    assert "in use by another process" in str(ended.exception)
