"""Which samples a map shows, of which curation they are, and by which methods maps are made here."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
from tests.api.conftest import Curated
from tests.api.listed_archives import captions
from tests.local_platform import tar_of_samples

from cocu.client import CocuClient, InvalidInputError
from cocu.schemas import Curation, Projection

FIRST, LATER = 12, 5
TIMEOUT = 120


@dataclass(frozen=True)
class Grown:
    """A dataset that was curated, has grown, and was curated again; what it was asked to show in between."""

    dataset: str
    before: Curation
    partial: Projection
    after: Curation


@pytest.fixture(scope="module")
def grown(client: CocuClient, curated: Curated, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    dataset = client.datasets.create("grown").id
    vocabulary = curated.curation.vocabulary

    def curate() -> Curation:
        created = client.curations.create(dataset, vocabulary=vocabulary)
        return client.curations.wait(created.id, timeout=TIMEOUT)

    def send(first: int, count: int) -> None:
        file = tmp_path_factory.mktemp("grown") / f"{first}.tar"
        file.write_bytes(tar_of_samples(captions(first, count)))
        client.datasets.upload(dataset, file)
        client.datasets.wait(dataset, timeout=TIMEOUT)

    send(0, FIRST)
    before = curate()
    send(FIRST, LATER)
    partial = projected(client, dataset)
    return Grown(dataset, before, partial, curate())


def projected(client: CocuClient, dataset: str, *, seed: int = 0) -> Projection:
    created = client.projections.create(dataset, method="pca", seed=seed)
    client.projections.wait(dataset, created.id, timeout=TIMEOUT)
    return client.projections.get(dataset, created.id)


def test_projection__says_how_many_samples_there_are_and_how_many_have_a_place(
    client: CocuClient, grown: Grown
) -> None:
    partial, whole = grown.partial, projected(client, grown.dataset)

    assert (partial.samples, partial.points, partial.left_out) == (FIRST + LATER, FIRST, LATER)
    assert partial.without_place == LATER
    assert (whole.samples, whole.points, whole.without_place) == (FIRST + LATER, FIRST + LATER, 0)
    listed = {item.id: item for item in client.projections.list(grown.dataset)}
    assert (listed[partial.id].points, listed[partial.id].same_samples) == (FIRST, None)


def test_list__of_a_curation_has_only_maps_of_its_samples(client: CocuClient, grown: Grown) -> None:
    later = [projected(client, grown.dataset, seed=seed).id for seed in (1, 2, 3)]

    # All that has a place there is all that this curation had.
    (shown,) = client.projections.list(grown.dataset, curation=grown.before.id)
    assert shown.id == grown.partial.id
    for page_size in (1, 2, 3, 100):
        listed = client.projections.list(grown.dataset, curation=grown.after.id, page_size=page_size)
        assert [item.id for item in listed][:3] == later[::-1]
    for curation, same in ((grown.before, False), (grown.after, True)):
        assert client.projections.get(grown.dataset, later[0], curation=curation.id).same_samples is same


def test_list__is_of_a_curation_of_the_same_dataset(
    client: CocuClient, grown: Grown, curated: Curated
) -> None:
    with pytest.raises(InvalidInputError, match="another dataset"):
        list(client.projections.list(grown.dataset, curation=curated.curation.id))


def test_methods__are_those_that_are_installed(client: CocuClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.projections.methods().methods == ["umap", "pca"]
    monkeypatch.setitem(sys.modules, "umap", None)

    assert client.projections.methods().model_dump() == {"methods": ["pca"], "default": "pca"}
