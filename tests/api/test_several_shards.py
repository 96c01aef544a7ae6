"""The number of shards changes no answer of search, concepts and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel
from tests.api.conftest import CAPTIONS, VOCABULARY
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.client import CocuClient
from cocu.schemas import Parameters, SearchFilters, SearchRequest


@dataclass(frozen=True)
class Platform:
    """A client of a platform with the samples of the tests, curated twice."""

    client: CocuClient
    dataset: str
    few: str
    many: str


@pytest.fixture(scope="module")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Platform]]:
    folder = tmp_path_factory.mktemp("platforms")
    encoder = write_tiny_encoder(folder / "encoder")
    (folder / "samples.tar").write_bytes(tar_of_samples(CAPTIONS))
    (folder / "words.txt").write_text(VOCABULARY)
    with (
        running(folder / "whole", encoder) as whole,
        running(folder / "cut", encoder, samples_per_shard=3) as cut,
        CocuClient(whole.url) as of_whole,
        CocuClient(cut.url) as of_cut,
    ):
        yield [_filled(of_whole, folder), _filled(of_cut, folder)]


def _filled(client: CocuClient, folder: Path) -> Platform:
    dataset = client.datasets.create("samples").id
    client.datasets.upload(dataset, folder / "samples.tar")
    client.datasets.wait(dataset, timeout=60)
    vocabulary = client.vocabularies.from_file(folder / "words.txt").id
    curations = [
        client.curations.create(dataset, vocabulary=vocabulary, parameters=Parameters(neighbours=neighbours))
        for neighbours in (1, 3)
    ]
    few, many = (client.curations.wait(curation.id, timeout=120).id for curation in curations)
    return Platform(client, dataset, few, many)


def plain(value: BaseModel) -> dict[str, object]:
    """Return the values without ids."""
    return value.model_dump(exclude={"image", "thumbnail", "first", "second", "samples"})


def test_shards__are_several(platforms: list[Platform]) -> None:
    assert [platform.client.datasets.get(platform.dataset).shards for platform in platforms] == [1, 3]


@pytest.mark.parametrize(
    "filters",
    [SearchFilters(), SearchFilters(caption=["cat"]), SearchFilters(archive=["dog"], added=True)],
    ids=["all", "caption", "added"],
)
def test_search__is_the_same(platforms: list[Platform], filters: SearchFilters) -> None:
    answers = []
    for platform in platforms:
        options = {"curation": platform.many, "filters": filters, "page_size": 2}
        hits = platform.client.search.by_sample(platform.dataset, "last", **options)
        request = SearchRequest(
            dataset=platform.dataset, sample="last", curation=platform.many, filters=filters, facets=6
        )
        facets = platform.client.search.page(request).facets
        rounded = [(hit.key, hit.caption, hit.concepts, round(hit.similarity, 5)) for hit in hits]
        answers.append((rounded, facets))
    assert answers[0][0]
    assert answers[0] == answers[1]


def test_concepts__are_the_same(platforms: list[Platform]) -> None:
    listed, closely = [], []
    for platform in platforms:
        listed.append(list(platform.client.concepts.list(platform.many)))
        details = [platform.client.concepts.get(platform.many, name) for name in VOCABULARY.split()]
        closely.append([(plain(detail), [plain(sample) for sample in detail.samples]) for detail in details])
    assert listed[0] == listed[1]
    assert closely[0] == closely[1]


def test_comparisons__are_the_same(platforms: list[Platform]) -> None:
    answers = []
    for platform in platforms:
        pair = (platform.few, platform.many)
        answers.append(
            (
                plain(platform.client.comparisons.get(*pair)),
                list(platform.client.comparisons.concepts(*pair)),
                [plain(sample) for sample in platform.client.comparisons.samples(*pair, page_size=2)],
            )
        )
    assert answers[0][2]
    assert answers[0] == answers[1]
