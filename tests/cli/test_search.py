"""`cocu search`, `cocu concepts` and `cocu compare` against a running platform, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import feather, parquet
from tests.local_platform import picture, running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner, Result

from cocu.cli.application import app
from cocu.cli.failures import CommandFailedError
from cocu.client import ClientError, CocuClient
from cocu.schemas import Parameters

CAPTIONS = {"one": "a dog on a bench", "two": "a cat in a tree", "three": "a dog and a car", "four": "a boat"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """The address of a platform, and the ids of two curations of its only dataset."""
    folder = tmp_path_factory.mktemp("platform")
    encoder = write_tiny_encoder(folder / "encoder")
    (folder / "samples.tar").write_bytes(tar_of_samples(CAPTIONS))
    (folder / "words.txt").write_text("dog\ncat\nbench\ntree\ncar\nboat\n")
    with running(folder / "data", encoder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("pictures")
        client.datasets.upload(dataset.id, folder / "samples.tar")
        client.datasets.wait(dataset.id, timeout=60)
        vocabulary = client.vocabularies.from_file(folder / "words.txt").id
        curations = []
        for neighbours in (1, 3):
            parameters = Parameters(neighbours=neighbours)
            curation = client.curations.create(dataset.id, vocabulary=vocabulary, parameters=parameters)
            curations.append(client.curations.wait(curation.id, timeout=120).id)
        yield server.url, curations


def cocu(url: str, *arguments: object) -> Result:
    environment = {"COCU_SERVER": url, "COLUMNS": "120"}
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome


def test_search__by_text_sample_and_image(platform: tuple[str, list[str]], tmp_path: Path) -> None:
    url, (curation, _) = platform
    by_text = json.loads(cocu(url, "search", "a dog", "--json").stdout)
    assert {hit["key"] for hit in by_text["hits"]} == set(CAPTIONS)
    by_sample = json.loads(cocu(url, "search", "--sample", "one", "--dataset", "pictures", "--json").stdout)
    assert {hit["key"] for hit in by_sample["hits"]} == CAPTIONS.keys() - {"one"}
    (tmp_path / "three.jpg").write_bytes(picture(2))
    shown = cocu(url, "search", "--image", tmp_path / "three.jpg", "--limit", 1, "--curation", curation)
    assert "three" in shown.stdout
    assert "a dog and a car" in shown.stdout
    assert "1 hit" in shown.stdout


def test_search__with_filters_and_facets(platform: tuple[str, list[str]]) -> None:
    url, (curation, _) = platform
    arguments = ("search", "a dog", "--curation", curation, "--facets", 2)
    page = json.loads(cocu(url, *arguments, "--caption-has", "dogs", "--limit", 1, "--json").stdout)
    assert len(page["hits"]) == 1
    assert page["hits"][0]["key"] in {"one", "three"}
    assert page["facets"][0]["hits"] == 2
    assert "dog" in cocu(url, *arguments).stdout
    with pytest.raises(ClientError, match="no such concept"):
        cocu(url, *arguments, "--archive-has", "zeppelin")


def test_search__says_what_is_missing(platform: tuple[str, list[str]]) -> None:
    url, _ = platform
    with pytest.raises(ClientError, match="exactly one of text, image, sample and vector"):
        cocu(url, "search")
    with pytest.raises(ClientError, match="min_score"):
        cocu(url, "search", "a dog", "--min-score", "nan")
    with pytest.raises(CommandFailedError, match="there are: pictures"):
        cocu(url, "search", "a dog", "--dataset", "other")


def test_concepts__listed_and_one_closely(platform: tuple[str, list[str]]) -> None:
    url, (curation, _) = platform
    listed = [json.loads(line) for line in cocu(url, "concepts", curation, "--json").stdout.splitlines()]
    assert {row["concept"]: row["captions"] for row in listed}["dog"] == 2
    assert "captions" in cocu(url, "concepts", curation, "--order", "added").stdout
    shown = cocu(url, "concepts", curation, "dogs").stdout
    assert "dog: 2 captions" in shown
    assert "a dog on a bench" in shown
    assert json.loads(cocu(url, "concepts", curation, "dog", "--json").stdout)["concept"] == "dog"


def test_compare__two_curations(platform: tuple[str, list[str]]) -> None:
    url, (few, many) = platform
    comparison = json.loads(cocu(url, "compare", few, many, "--json").stdout)
    assert comparison["gained"] > 0
    assert comparison["lost"] == 0
    assert comparison["concepts"][0]["gained"] > 0
    assert comparison["changed_most"][0]["change"] > 0
    shown = cocu(url, "compare", few, many).stdout
    assert "of 4 samples changed" in shown
    assert "Changed most" in shown
    assert "0 of 4 samples changed" in cocu(url, "compare", few, few).stdout


@pytest.mark.parametrize(
    ("name", "read"), [("c.parquet", parquet.read_table), ("c.arrow", feather.read_table)]
)
def test_concepts__as_a_table_in_a_file(
    platform: tuple[str, list[str]], tmp_path: Path, name: str, read: Callable[[Path], pyarrow.Table]
) -> None:
    url, (curation, _) = platform
    cocu(url, "concepts", curation, "--output", tmp_path / name, "--order", "concept")
    with CocuClient(url) as client:
        assert read(tmp_path / name).equals(client.concepts.table(curation, order="concept"))
    with pytest.raises(CommandFailedError, match=r"call it \.parquet or \.arrow"):
        cocu(url, "concepts", curation, "--output", tmp_path / "c.csv")
    with pytest.raises(CommandFailedError, match="leave out the concept"):
        cocu(url, "concepts", curation, "dog", "--output", tmp_path / name)
