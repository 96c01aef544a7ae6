"""The vector store made again from the files, whatever happens to datasets and curations meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.pipeline.indexed_archives import assert_indexed, named
from tests.pipeline.pipeline_driver import (
    TENANT,
    begin,
    drain,
    new_dataset,
    send,
    some_samples,
    tar_of,
)

from cocu.catalog import vector_state
from cocu.catalog.curations import CurationRecord
from cocu.errors import UnavailableError
from cocu.pipeline import reindex, submit
from cocu.pipeline.stages import index
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.vectors import identifiers

KEYS = 12


def curated(platform: Platform, *, name: str = "photographs", first: int = 0) -> CurationRecord:
    """A dataset of two shards and its curation."""
    half = KEYS // 2
    uploaded = (some_samples(half, first=first), some_samples(half, first=first + half))
    dataset_id = new_dataset(platform, *uploaded, name=name)
    drain(platform)
    return curate(platform, dataset_id)


def curate(platform: Platform, dataset_id: str, **parameters: object) -> CurationRecord:
    curation = begin(platform, dataset_id, **parameters)
    drain(platform)
    return curation


def found(platform: Platform, curation: CurationRecord) -> list[tuple[str, int, float]]:
    """Every sample of its dataset: key, row, cosine with some vector; nearest first."""
    vector_D = np.random.default_rng(0).normal(size=dimensions(platform))
    hits = platform.vectors.search(**named(curation), vector_D=vector_D, limit=100)
    return [(hit.key, hit.row, round(hit.score, 4)) for hit in hits]


def dimensions(platform: Platform) -> int:
    shard = vector_state.embedded(platform.catalog)[0]
    path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
    return int(arrays.read_embeddings(platform.objects, path).shape[1])


def rebuild(
    platform: Platform, *, meanwhile: Callable[[], object] = lambda: None, dataset_id: str | None = None
) -> reindex.Rebuilt:
    """Rebuilds everything, or a dataset; something happens as soon as the first shard is there."""
    told: list[int] = []

    def advance(encoder: str, samples: int) -> None:
        told.append(samples)
        if len(told) == 1:
            meanwhile()

    ((encoder, shards),) = reindex.shards_by_encoder(platform, dataset_id=dataset_id).items()
    run = reindex.rebuild_encoder if dataset_id is None else reindex.rebuild_dataset
    return run(platform, shards, encoder_hash=encoder, advance=advance)


@pytest.mark.parametrize("whole", [True, False])
def test_a_rebuild_comes_to_what_was_there(platform: Platform, whole: bool) -> None:
    curation, other = curated(platform), curated(platform, name="others", first=100)
    before, others = found(platform, curation), found(platform, other)
    assert_indexed(platform, curation)
    for lost in (True, False):
        if lost:
            platform.vectors.delete_dataset(tenant=TENANT, dataset=curation.dataset_id)
        rebuilt = rebuild(platform, dataset_id=None if whole else curation.dataset_id)
        assert (rebuilt.samples, rebuilt.shards, rebuilt.failed) == ((24, 4, {}) if whole else (12, 2, {}))
        assert found(platform, curation) == before
        assert found(platform, other) == others
        assert_indexed(platform, curation)
        assert_indexed(platform, other)


def test_what_is_embedded_meanwhile_is_not_lost(platform: Platform) -> None:
    curation = curated(platform)

    def more() -> None:
        send(platform, curation.dataset_id, "more.tar", tar_of(some_samples(6, first=50)))
        drain(platform)
        curate(platform, curation.dataset_id)

    rebuilt = rebuild(platform, meanwhile=more)
    assert rebuilt.samples == KEYS + 6
    assert len(found(platform, curation)) == KEYS + 6


def test_what_is_published_meanwhile_is_not_lost(platform: Platform) -> None:
    curation = curated(platform)
    later: list[CurationRecord] = []
    rebuild(platform, meanwhile=lambda: later.append(curate(platform, curation.dataset_id, neighbours=2)))
    assert_indexed(platform, curation)
    assert_indexed(platform, later[0])


def test_what_is_deleted_meanwhile_does_not_come_back(platform: Platform) -> None:
    curation, other = curated(platform), curated(platform, name="others", first=100)

    def delete() -> None:
        submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=other.dataset_id)
        drain(platform)

    rebuild(platform, meanwhile=delete)
    assert platform.vectors.count(**named(other)) == 0
    assert platform.vectors.count(**named(curation)) == KEYS


def test_a_damaged_file_keeps_no_other_out(platform: Platform) -> None:
    curation = curated(platform)
    shard = vector_state.embedded(platform.catalog)[0]
    path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
    platform.objects.put(path, b"no array")
    platform.vectors.delete_dataset(tenant=TENANT, dataset=curation.dataset_id)
    rebuilt = rebuild(platform)
    assert set(rebuilt.failed) == {shard.shard_id}
    assert platform.vectors.count(**named(curation)) == KEYS // 2
    (indexed,) = vector_state.indexed_shards(
        platform.catalog, tenant=TENANT, dataset_id=curation.dataset_id, encoder_hash=curation.encoder_hash
    )
    assert indexed[0] != shard.shard_id


def test_an_outage_in_a_rebuild_leaves_the_store_in_use_as_it_was(platform: Platform) -> None:
    curation = curated(platform)
    before = found(platform, curation)

    def gone() -> None:
        raise UnavailableError("the vector store does not answer")

    with pytest.raises(UnavailableError):
        rebuild(platform, meanwhile=gone)
    assert found(platform, curation) == before
    backend = platform.vectors._backend
    assert len(backend.generations(identifiers.collection("samples", curation.encoder_hash))) == 1


def test_a_rebuild_counts_as_indexed_what_had_not_succeeded(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object, **names: object) -> None:
        raise ValueError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(index, "put_shard", gone)
        curation = curated(platform)
    of_dataset = {"tenant": TENANT, "dataset_id": curation.dataset_id}
    assert vector_state.indexing_encoders(platform.catalog, **of_dataset) == set()
    rebuild(platform, dataset_id=curation.dataset_id)
    assert vector_state.indexing_encoders(platform.catalog, **of_dataset) == {curation.encoder_hash}
    assert_indexed(platform, curation)
