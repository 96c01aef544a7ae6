"""Two curations of one dataset side by side, over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import Curated
from tests.api.test_hostile_requests import TEXT, well_answered
from tests.local_platform import tar_of_samples

from cocu.api.server import LocalServer
from cocu.catalog import datasets
from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.schemas import Curation, Parameters

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def other(client: CocuClient, curated: Curated, tmp_path_factory: pytest.TempPathFactory) -> Curation:
    """A curation with another vocabulary and fewer neighbours."""
    words = tmp_path_factory.mktemp("vocabulary") / "another.txt"
    words.write_text("dog\ncat\nbench\nanimal\ntree\n")
    vocabulary = client.vocabularies.from_file(words)
    curation = client.curations.create(
        curated.dataset.id, vocabulary=vocabulary.id, parameters=Parameters(neighbours=2)
    )
    return client.curations.wait(curation.id, timeout=120)


def listed(client: CocuClient, curation: str) -> dict[str, list[str]]:
    return {
        archive.key: [concept.concept for concept in archive.concepts]
        for archive in client.archives.list(curation)
    }


def test_itself__is_no_different(client: CocuClient, curated: Curated) -> None:
    comparison = client.comparisons.get(curated.curation.id, curated.curation.id)
    assert (comparison.samples, comparison.samples_changed, comparison.gained, comparison.lost) == (
        8,
        0,
        0,
        0,
    )
    assert (comparison.change, comparison.rank_correlation) == (0, 1)
    assert comparison.gained_most == comparison.lost_most == []
    assert list(client.comparisons.samples(curated.curation.id, curated.curation.id)) == []
    assert list(client.comparisons.concepts(curated.curation.id, curated.curation.id)) == []


def test_comparison__says_what_was_gained_and_lost(
    client: CocuClient, curated: Curated, other: Curation
) -> None:
    first, second = listed(client, curated.curation.id), listed(client, other.id)
    comparison = client.comparisons.get(curated.curation.id, other.id)
    assert comparison.samples == len(first)
    assert comparison.gained == sum(len(set(second[key]) - set(first[key])) for key in first)
    assert comparison.lost == sum(len(set(first[key]) - set(second[key])) for key in first)
    assert comparison.shared == sum(len(set(first[key]) & set(second[key])) for key in first)
    assert comparison.samples_changed == sum(first[key] != second[key] for key in first)
    for change in client.comparisons.concepts(curated.curation.id, other.id, page_size=2):
        name = change.concept
        assert change.first == sum(name in concepts for concepts in first.values())
        assert change.second == sum(name in concepts for concepts in second.values())
        assert change.gained == sum(name in second[key] and name not in first[key] for key in first)
        assert change.lost == sum(name in first[key] and name not in second[key] for key in first)
    assert {"car", "boat"} <= {change.concept for change in comparison.lost_most}


def test_samples__come_with_the_greatest_change_first(
    client: CocuClient, curated: Curated, other: Curation
) -> None:
    first, second = listed(client, curated.curation.id), listed(client, other.id)
    changes = list(client.comparisons.samples(curated.curation.id, other.id, page_size=3))
    assert {change.key for change in changes} == {key for key in first if first[key] != second[key]}
    assert [change.change for change in changes] == sorted(
        (change.change for change in changes), reverse=True
    )
    for change in changes:
        assert change.gained == [name for name in second[change.key] if name not in first[change.key]]
        assert change.lost == [name for name in first[change.key] if name not in second[change.key]]


def test_other_way_round__gained_is_lost(client: CocuClient, curated: Curated, other: Curation) -> None:
    there = client.comparisons.get(curated.curation.id, other.id)
    back = client.comparisons.get(other.id, curated.curation.id)
    assert (there.gained, there.lost, there.shared) == (back.lost, back.gained, back.shared)
    assert (there.change, there.rank_correlation) == (back.change, back.rank_correlation)


def test_comparison__is_immutable_for_caches(http: httpx.Client, curated: Curated, other: Curation) -> None:
    path = f"/v1/curations/{curated.curation.id}/comparisons/{other.id}"
    first = http.get(path)
    assert http.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_curations__of_different_datasets_are_refused(
    client: CocuClient, server: LocalServer, curated: Curated, tmp_path: Path
) -> None:
    dataset = client.datasets.create("compared with nothing")
    file = tmp_path / "samples.tar"
    file.write_bytes(tar_of_samples({"a": "a dog", "b": "a cat", "c": "a dog and a cat"}))
    client.datasets.upload(dataset.id, file)
    client.datasets.wait(dataset.id, timeout=60)
    elsewhere = client.curations.create(dataset.id, vocabulary=curated.curation.vocabulary)
    client.curations.wait(elsewhere.id, timeout=120)
    with pytest.raises(InvalidInputError, match=r"path\.other"):
        client.comparisons.get(curated.curation.id, elsewhere.id)
    theirs = datasets.create(server.platform.catalog, tenant="somebody else", name="compared").id
    for missing in ("missing", theirs):
        with pytest.raises(NotFoundError):
            client.comparisons.get(curated.curation.id, missing)
        with pytest.raises(NotFoundError):
            client.comparisons.get(missing, curated.curation.id)


@QUICK
@given(
    part=st.sampled_from(["", "/concepts", "/samples"]),
    query=st.dictionaries(st.sampled_from(["limit", "cursor"]), TEXT),
)
def test_requests__of_any_values(
    http: httpx.Client, curated: Curated, part: str, query: dict[str, str]
) -> None:
    path = f"/v1/curations/{curated.curation.id}/comparisons/{curated.curation.id}{part}"
    assert well_answered(http.get(path, params=query))
