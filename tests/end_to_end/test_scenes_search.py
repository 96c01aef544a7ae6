"""Search, concepts and comparison on some of the shipped scenes, with the shipped encoder and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from tests.local_platform import running

from cocu.client import CocuClient, read_labels
from cocu.schemas import Curation, Parameters, SearchFilters, SearchRequest


@dataclass(frozen=True)
class Scenes:
    """A running platform with scenes that are curated twice, their keys, and what is in each scene."""

    client: CocuClient
    dataset: str
    few: Curation
    many: Curation
    keys: list[str]
    labels: dict[str, list[str]]

    @property
    def common(self) -> list[str]:
        """The labels that most scenes have, without those that nearly all have."""
        counts = Counter(label for key in self.keys for label in self.labels[key])
        return [label for label, count in counts.most_common(20) if count < len(self.keys) / 3]

    def share(self, label: str, keys: list[str]) -> float:
        """How many of these scenes have a label."""
        return sum(label in self.labels[key] for key in keys) / len(keys)


@pytest.fixture(scope="module")
def scenes(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    examples = repository / "examples"
    labels = read_labels(examples / "scenes" / "labels.json")
    assert isinstance(labels, dict)
    data = tmp_path_factory.mktemp("data")
    with running(data, examples / "encoders" / "scenes") as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("scenes").id
        client.datasets.upload(dataset, examples / "scenes" / "scenes-00000.tar")
        client.datasets.wait(dataset, timeout=60)
        made = []
        for neighbours in (4, 16):
            curation = client.curations.create(dataset, parameters=Parameters(neighbours=neighbours))
            made.append(client.curations.wait(curation.id, timeout=120))
        keys = [sample.key for sample in client.datasets.samples(dataset)]
        yield Scenes(client, dataset, made[0], made[1], keys, labels)


def test_search__by_text_finds_what_is_shown(scenes: Scenes) -> None:
    shares, base = [], []
    for label in scenes.common[:8]:
        found = [hit.key for hit in islice(scenes.client.search.by_text(scenes.dataset, label), 10)]
        shares.append(scenes.share(label, found))
        base.append(scenes.share(label, scenes.keys))
    assert sum(shares) / len(shares) > 2 * sum(base) / len(base)


def test_search__a_missing_concept_that_curation_added(scenes: Scenes) -> None:
    """The captions of these hits do not name what was searched for; archives do, and mostly it is there."""
    right = []
    for label in scenes.common[:8]:
        filters = SearchFilters(archive=[label], added=True)
        options = {"curation": scenes.many.id, "filters": filters}
        for hit in islice(scenes.client.search.by_text(scenes.dataset, label, **options), 5):
            assert all(each.added for each in hit.concepts if each.concept == label)
            right.append(label in scenes.labels[hit.key])
    assert len(right) >= 20
    assert sum(right) / len(right) > 0.5


def test_facets__of_a_search_name_what_is_searched_for(scenes: Scenes) -> None:
    label = scenes.common[0]
    request = SearchRequest(
        dataset=scenes.dataset,
        text=label,
        curation=scenes.many.id,
        filters=SearchFilters(archive=[label]),
        facets=1,
    )
    page = scenes.client.search.page(request)
    assert page.facets[0].hits == page.facet_hits >= len(page.items)


def test_concepts__occur_more_often_after_than_before(scenes: Scenes) -> None:
    found = list(scenes.client.concepts.list(scenes.many.id))
    assert sum(each.archives for each in found) > 2 * sum(each.captions for each in found)
    statistics = scenes.many.statistics or {}
    assert sum(each.archives for each in found) == statistics["concepts"]
    assert sum(each.added for each in found) == statistics["concepts_added"]
    label = scenes.common[0]
    best = scenes.client.concepts.get(scenes.many.id, label, limit=10)
    assert scenes.share(label, [each.key for each in best.samples]) > 0.8


def test_comparison__more_neighbours_gain_concepts(scenes: Scenes) -> None:
    found = scenes.client.comparisons.get(scenes.few.id, scenes.many.id)
    assert found.samples == 280
    assert found.lost == 0
    assert found.gained > 0
    assert found.rank_correlation is not None
    assert found.rank_correlation > 0.5
    first = next(scenes.client.comparisons.samples(scenes.few.id, scenes.many.id))
    assert first.change >= found.change
