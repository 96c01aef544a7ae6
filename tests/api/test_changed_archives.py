"""A dataset that grew: which archives are drawn from other neighbours than before."""

from __future__ import annotations

from pathlib import Path

import httpx
from tests.api.conftest import Curated
from tests.running import tar_of_samples

from cocu.client import CocuClient
from cocu.client.models import Archive, Curation, Parameters

WORDS = ("dog", "cat", "bench", "tree", "car", "boat")


def captions(first: int, count: int) -> dict[str, str]:
    return {f"{number:03d}": f"a {WORDS[number % 6]}" for number in range(first, first + count)}


def curated_with(client: CocuClient, dataset: str, vocabulary: str, file: Path, content: bytes) -> Curation:
    file.write_bytes(content)
    client.datasets.upload(dataset, file)
    client.datasets.wait(dataset, timeout=60)
    made = client.curations.create(dataset, vocabulary=vocabulary, parameters=Parameters(neighbours=2))
    return client.curations.wait(made.id, timeout=120)


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
    wanted = {key for key, each in after.items() if key not in before or names(before[key]) != names(each)}
    assert 20 < len(wanted) < 60
    assert {key for key, archive in after.items() if archive.changed} == wanted
    assert {each.key for each in client.archives.list(second.id, changed=True, limit=7)} == wanted
    assert {each.key for each in client.archives.list(second.id, changed=False)} == set(after) - wanted
    dogs = {each.key for each in client.archives.list(second.id, changed=True, concept="dog")}
    assert dogs == {key for key in wanted if "dog" in [each.concept for each in after[key].concepts]}
    assert second.statistics is not None
    assert second.statistics["compared_with"] == first.id
    assert second.statistics["changed_neighbours"] == len(wanted)
    path = f"/v1/curations/{second.id}/archives"
    cursor = http.get(path, params={"limit": 2}).json()["next"]
    refused = http.get(path, params={"limit": 2, "cursor": cursor, "changed": "true"})
    assert refused.status_code == 422
