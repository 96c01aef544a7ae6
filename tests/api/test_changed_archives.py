"""A dataset that grew: the archives whose neighbours have changed."""

from __future__ import annotations

from pathlib import Path

import httpx
from tests.api.conftest import Curated
from tests.local_platform import tar_of_samples

from cocu.client import CocuClient
from cocu.schemas import Archive, Curation, Parameters

WORDS = ("dog", "cat", "bench", "tree", "car", "boat")


def captions(first: int, count: int) -> dict[str, str]:
    return {f"{number:03d}": f"a {WORDS[number % 6]}" for number in range(first, first + count)}


def curated_with(client: CocuClient, dataset: str, vocabulary: str, file: Path, content: bytes) -> Curation:
    file.write_bytes(content)
    client.datasets.upload(dataset, file)
    client.datasets.wait(dataset, timeout=60)
    curation = client.curations.create(dataset, vocabulary=vocabulary, parameters=Parameters(neighbours=2))
    return client.curations.wait(curation.id, timeout=120)


def names(archive: Archive) -> list[str]:
    return [neighbour.key for neighbour in archive.neighbours]


def test_archives__that_changed_are_marked_and_filtered(
    client: CocuClient, http: httpx.Client, curated: Curated, tmp_path: Path
) -> None:
    dataset, vocabulary = client.datasets.create("growing").id, curated.curation.vocabulary
    first = curated_with(client, dataset, vocabulary, tmp_path / "a.tar", tar_of_samples(captions(0, 40)))
    content = tar_of_samples(captions(40, 20), first_seed=40)
    second = curated_with(client, dataset, vocabulary, tmp_path / "b.tar", content)

    before = {archive.key: archive for archive in client.archives.list(first.id)}
    after = {archive.key: archive for archive in client.archives.list(second.id)}
    assert all(archive.changed for archive in before.values())
    expected = {
        key for key, archive in after.items() if key not in before or names(before[key]) != names(archive)
    }
    assert 20 < len(expected) < 60
    assert {key for key, archive in after.items() if archive.changed} == expected
    assert {archive.key for archive in client.archives.list(second.id, changed=True, page_size=7)} == expected
    assert {archive.key for archive in client.archives.list(second.id, changed=False)} == set(
        after
    ) - expected
    dogs = {archive.key for archive in client.archives.list(second.id, changed=True, concept="dog")}
    assert dogs == {key for key in expected if "dog" in [concept.concept for concept in after[key].concepts]}
    assert second.statistics is not None
    assert second.statistics["compared_with"] == first.id
    assert second.statistics["changed_neighbours"] == len(expected)
    path = f"/v1/curations/{second.id}/archives"
    cursor = http.get(path, params={"limit": 2}).json()["next"]
    refused = http.get(path, params={"limit": 2, "cursor": cursor, "changed": "true"})
    assert refused.status_code == 422
