"""A dataset that grew: a later curation computes what is new, and comes to what a fresh run comes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tests.pipeline.pipeline_driver import (
    archives_of,
    begin,
    drain,
    new_dataset,
    noise_png,
    send,
    settings,
    some_samples,
    state_of,
    tar_of,
)

from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord
from cocu.encoders.inprocess import InProcessEncoder
from cocu.neighbours import incremental
from cocu.pipeline.lease import Lease
from cocu.pipeline.stages import StageSpec, neighbours
from cocu.platform import Platform
from cocu.storage import arrays, paths

OLD = some_samples(20) | {"copy": some_samples(1)["00000"]}
NEW = some_samples(9, first=20) | {"another-copy": some_samples(1)["00000"]}


class Counted:
    """How often something was called, beside what it did."""

    def __init__(self) -> None:
        self.embedded = 0
        self.searched: list[tuple[int, tuple[int, ...]]] = []


@contextmanager
def counted() -> Iterator[Counted]:
    counts = Counted()
    embed_images = InProcessEncoder.embed_images
    search = incremental.top_neighbours

    def counting_embed(self: InProcessEncoder, pixels: Any) -> Any:
        counts.embedded += len(pixels)
        return embed_images(self, pixels)

    def counting_search(embeddings: Any, queries: Any, *, among: Any = None, **options: Any) -> Any:
        counts.searched.append((len(queries), tuple(range(len(embeddings)) if among is None else among)))
        return search(embeddings, queries, among=among, **options)

    with (
        mock.patch.object(InProcessEncoder, "embed_images", counting_embed),
        mock.patch.object(neighbours, "top_neighbours", counting_search),
        mock.patch.object(incremental, "top_neighbours", counting_search),
    ):
        yield counts


def curated(platform: Platform, dataset_id: str, **changes: Any) -> CurationRecord:
    drain(platform)
    curation = begin(platform, dataset_id, **changes)
    drain(platform)
    curation = state_of(platform, curation)
    assert curation.state == "completed"
    return curation


def fresh(folder: Path, encoders: Path, *uploaded: Any, **changes: Any) -> CurationRecord:
    """The curation of the same uploads by a platform that knows nothing yet."""
    with Platform.open(settings(folder, encoders)) as platform:
        return curated(platform, new_dataset(platform, *uploaded), **changes)


def changed_in(platform: Platform, curation: CurationRecord) -> dict[str, list[int]]:
    changed: dict[str, list[int]] = {}
    for shard in curations.shards(platform.catalog, curation_id=curation.id):
        path = paths.changed_lists(curation.id, shard.shard_id)
        if platform.objects.exists(path):
            changed[shard.shard_id] = arrays.read_arrays(platform.objects, path)["changed_N"].tolist()
    return changed


def test_only_what_is_new_is_computed(platform: Platform, tmp_path: Path, encoders: Path) -> None:
    dataset_id = new_dataset(platform, OLD)
    first = curated(platform, dataset_id)
    send(platform, dataset_id, "more.tar", tar_of(NEW))
    drain(platform)
    with counted() as counts:
        second = curated(platform, dataset_id)

    assert counts.embedded == len(NEW)
    # Old samples look through the new shard, new samples through all.
    assert sorted(counts.searched) == [(len(NEW), (0, 1)), (len(OLD), (1,))]
    assert second.content_hash != first.content_hash
    assert second.content_hash == fresh(tmp_path / "fresh", encoders, OLD, NEW).content_hash


def test_stages_of_old_shards_that_every_curation_shares_do_not_run_again(platform: Platform) -> None:
    dataset_id = new_dataset(platform, OLD)
    curated(platform, dataset_id)
    send(platform, dataset_id, "more.tar", tar_of(NEW))
    drain(platform)
    ran: list[tuple[str, str]] = []
    run = StageSpec.run

    def noted(spec: StageSpec, lease: Lease) -> None:
        ran.append((spec.name, lease.task.target))
        run(spec, lease)

    with mock.patch.object(StageSpec, "run", noted):
        second = curated(platform, dataset_id)
    shards = [shard.shard_id for shard in curations.shards(platform.catalog, curation_id=second.id)]

    assert [target for stage, target in ran if stage == "embed"] == shards[1:]
    assert [target for stage, target in ran if stage == "index"] == shards[1:]


@pytest.mark.parametrize("changes", [{"seed": 1}, {"scoring": "set"}, {"neighbours": 3}])
def test_the_same_samples_are_not_searched_again(
    platform: Platform, tmp_path: Path, encoders: Path, changes: dict[str, Any]
) -> None:
    dataset_id = new_dataset(platform, OLD, NEW)
    curated(platform, dataset_id)
    with counted() as counts:
        second = curated(platform, dataset_id, **changes)

    assert counts.embedded == 0
    assert counts.searched == []
    assert second.content_hash == fresh(tmp_path / "fresh", encoders, OLD, NEW, **changes).content_hash


def test_longer_lists_than_are_known_are_searched_for(
    platform: Platform, tmp_path: Path, encoders: Path
) -> None:
    dataset_id = new_dataset(platform, OLD, NEW)
    curated(platform, dataset_id, neighbours=1)
    with counted() as counts:
        second = curated(platform, dataset_id, neighbours=7)

    assert sorted(counts.searched) == [(len(NEW), (0, 1)), (len(OLD), (0, 1))]
    assert second.content_hash == fresh(tmp_path / "fresh", encoders, OLD, NEW, neighbours=7).content_hash


def test_growing_many_times_gives_the_same_result(platform: Platform, tmp_path: Path, encoders: Path) -> None:
    uploaded = [
        some_samples(7, first=7 * number) | {f"c{number}": (noise_png(2), "a dog")} for number in range(4)
    ]
    dataset_id = new_dataset(platform, uploaded[0])
    last = curated(platform, dataset_id)
    for number, more in enumerate(uploaded[1:]):
        send(platform, dataset_id, f"more-{number}.tar", tar_of(more))
        last = curated(platform, dataset_id)

    assert last.content_hash == fresh(tmp_path / "fresh", encoders, *uploaded).content_hash


def test_changed_lists_are_marked(platform: Platform) -> None:
    dataset_id = new_dataset(platform, some_samples(40))
    first = curated(platform, dataset_id, neighbours=2)
    send(platform, dataset_id, "more.tar", tar_of(some_samples(20, first=40)))
    second = curated(platform, dataset_id, neighbours=2)

    assert changed_in(platform, first) == {}
    assert "compared_with" not in (first.statistics or {})
    before, after = archives_of(platform, first), archives_of(platform, second)
    differ = [int(after[key]["neighbours"] != row["neighbours"]) for key, row in before.items()]
    assert 0 < sum(differ) < 40
    assert list(changed_in(platform, second).values()) == [differ]
    assert second.statistics is not None
    assert second.statistics["compared_with"] == first.id
    assert second.statistics["changed_neighbours"] == sum(differ) + 20


@pytest.mark.parametrize("damage", ["deleted", "damaged"])
def test_lists_that_cannot_be_read_any_more_are_searched_for(
    platform: Platform, tmp_path: Path, encoders: Path, damage: str
) -> None:
    dataset_id = new_dataset(platform, OLD, some_samples(5, first=50))
    first = curated(platform, dataset_id)
    last = curations.shards(platform.catalog, curation_id=first.id)[-1]
    for path in (paths.neighbours(first.id, last.shard_id), paths.archives(first.id, last.shard_id)):
        platform.objects.delete(path)
        if damage == "damaged":
            platform.objects.put(path, b"something else")
    send(platform, dataset_id, "more.tar", tar_of(NEW))
    drain(platform)
    with counted() as counts:
        second = curated(platform, dataset_id)

    assert sorted(counts.searched) == [(5, (0, 1, 2)), (len(NEW), (0, 1, 2)), (len(OLD), (2,))]
    expected = fresh(tmp_path / "fresh", encoders, OLD, some_samples(5, first=50), NEW)
    assert second.content_hash == expected.content_hash
    assert last.shard_id not in changed_in(platform, second)


def test_lists_made_by_other_rules_are_not_compared(platform: Platform) -> None:
    dataset_id = new_dataset(platform, OLD)
    curated(platform, dataset_id)
    send(platform, dataset_id, "more.tar", tar_of(NEW))
    second = curated(platform, dataset_id, neighbours=5)

    assert changed_in(platform, second) == {}
    assert "compared_with" not in (second.statistics or {})
