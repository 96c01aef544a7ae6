"""What monitoring is told of a catalog."""

from __future__ import annotations

from sqlalchemy import update
from tests.storage.catalog.filling import curation, dataset, filled, received, take

from cocu.storage.catalog import Catalog, census, chunks, models, planning
from cocu.storage.catalog.census import ChunkCount
from cocu.storage.catalog.clock import database_seconds


def counted(catalog: Catalog, stage: str, state: str) -> ChunkCount:
    found = {(one.stage, one.state): one for one in census.take(catalog).chunks}
    return found.get((stage, state), ChunkCount(stage, state, 0, 0, 0, 0.0))


def test_empty__is_a_census_of_nothing(catalog: Catalog) -> None:
    assert census.take(catalog) == census.Census((), {}, 0)


def test_chunks__are_counted_by_stage_and_state_with_their_samples(catalog: Catalog) -> None:
    planned = curation(catalog, filled(catalog, ["a", "b", "c"], ["d"])).chunks
    assert take(catalog, planned[0][0])
    taken = census.take(catalog)
    assert taken.samples == 4
    assert taken.curations == {"running": 1}
    running, pending = (counted(catalog, "embed", state) for state in ("running", "pending"))
    assert (running.chunks, pending.chunks) == (1, 1)
    assert running.samples + pending.samples == 4
    assert counted(catalog, "ingest", "done").chunks == 1


def test_repeats__are_attempts_beyond_the_first(catalog: Catalog) -> None:
    _, chunk_id = received(catalog, dataset(catalog), "a.tar")
    _, other = received(catalog, dataset(catalog, name="another"), "b.tar")
    for _ in range(3):
        assert take(catalog, chunk_id)
        again = {"retry": True, "max_failures": None, "retry_seconds": 0.0}
        planning.give_up(catalog, chunk_id=chunk_id, owner="worker", error="no", **again)
    assert take(catalog, other)
    assert take(catalog, chunk_id)
    assert counted(catalog, "ingest", "running").repeats == 3


def test_waiting__is_since_the_queue_was_told_and_only_of_what_may_run(catalog: Catalog) -> None:
    _, chunk_id = received(catalog, dataset(catalog), "a.tar")
    _, later = received(catalog, dataset(catalog, name="another"), "b.tar")
    assert counted(catalog, "ingest", "pending").waiting_seconds < 60

    def changed(which: str, **values: object) -> None:
        with catalog.write() as connection:
            connection.execute(update(models.Chunk).where(models.Chunk.id == which).values(values))

    changed(chunk_id, lease_until=database_seconds() - 100)
    changed(later, lease_until=0.0, not_before=database_seconds() + 1000)
    assert 100 <= counted(catalog, "ingest", "pending").waiting_seconds < 200
    changed(later, not_before=database_seconds() - 300)
    assert 300 <= counted(catalog, "ingest", "pending").waiting_seconds < 400
    chunks.release_all(catalog)
    assert take(catalog, chunk_id)
    assert counted(catalog, "ingest", "running").waiting_seconds == 0
