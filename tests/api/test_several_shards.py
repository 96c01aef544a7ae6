"""How samples are cut into shards changes no answer of search, concepts and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel
from tests.api.conftest import CAPTIONS, VOCABULARY
from tests.running import running, tar_of_samples
from tests.workers.tiny_encoder import write_tiny_encoder

from cocu.client import CocuClient
from cocu.client.models import Parameters, SearchFilters, SearchRequest


@dataclass(frozen=True)
class Platform:
    """A client of a platform with the samples of all these tests, curated twice."""

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
    made = [
        client.curations.create(dataset, vocabulary=vocabulary, parameters=Parameters(neighbours=neighbours))
        for neighbours in (1, 3)
    ]
    few, many = (client.curations.wait(curation.id, timeout=120).id for curation in made)
    return Platform(client, dataset, few, many)


def plain(value: BaseModel) -> dict[str, object]:
    """What is said, without the ids of what it is said about."""
    return value.model_dump(exclude={"image", "thumbnail", "first", "second", "samples"})


def test_shards__are_several(platforms: list[Platform]) -> None:
    assert [each.client.datasets.get(each.dataset).shards for each in platforms] == [1, 3]


@pytest.mark.parametrize(
    "filters",
    [SearchFilters(), SearchFilters(caption=["cat"]), SearchFilters(archive=["dog"], added=True)],
    ids=["all", "caption", "added"],
)
def test_search__is_the_same(platforms: list[Platform], filters: SearchFilters) -> None:
    found = []
    for each in platforms:
        options = {"curation": each.many, "filters": filters, "limit": 2}
        hits = each.client.search.by_sample(each.dataset, "last", **options)
        request = SearchRequest(
            dataset=each.dataset, sample="last", curation=each.many, filters=filters, facets=6
        )
        facets = each.client.search.page(request).facets
        rounded = [(hit.key, hit.caption, hit.concepts, round(hit.similarity, 5)) for hit in hits]
        found.append((rounded, facets))
    assert found[0][0]
    assert found[0] == found[1]


def test_concepts__are_the_same(platforms: list[Platform]) -> None:
    listed, closely = [], []
    for each in platforms:
        listed.append(list(each.client.concepts.list(each.many)))
        details = [each.client.concepts.get(each.many, name) for name in VOCABULARY.split()]
        closely.append([(plain(detail), [plain(sample) for sample in detail.samples]) for detail in details])
    assert listed[0] == listed[1]
    assert closely[0] == closely[1]


def test_comparisons__are_the_same(platforms: list[Platform]) -> None:
    found = []
    for each in platforms:
        pair = (each.few, each.many)
        found.append(
            (
                plain(each.client.comparisons.get(*pair)),
                list(each.client.comparisons.concepts(*pair)),
                [plain(sample) for sample in each.client.comparisons.samples(*pair, limit=2)],
            )
        )
    assert found[0][2]
    assert found[0] == found[1]
