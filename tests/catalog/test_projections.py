"""Projections in the catalog, in a file and on a server: created once, listed newest first, of one tenant."""

from __future__ import annotations

from typing import Any

import pytest
from tests.catalog.catalog_fixtures import TENANT, curation, filled, finish

from cocu.catalog import Catalog, datasets, events, projections
from cocu.catalog.projections import ProjectionRecord
from cocu.catalog.states import TaskState
from cocu.errors import ConflictError, NotFoundError
from cocu.pipeline import planner, projection_tasks

ENCODER = "encoder"


def embedded(catalog: Catalog, *, fails: int = 0) -> str:
    """A dataset of three shards of which all but so many are embedded."""
    dataset_id = filled(catalog, ["a", "b"], ["c"], ["d", "e", "f"])
    curation(catalog, dataset_id, encoder=ENCODER)
    with catalog.read() as connection:
        rows = connection.exec_driver_sql("SELECT id FROM tasks WHERE stage = 'embed' ORDER BY id").all()
    for number, (task_id,) in enumerate(rows):
        if number < fails:
            give_up(catalog, task_id)
        else:
            finish(catalog, task_id)
    return dataset_id


def give_up(catalog: Catalog, task_id: str) -> None:
    taken = planner.take(catalog, task_id=task_id, owner="w", lease_seconds=60.0, max_lost_leases=9)
    assert taken.task is not None
    planner.give_up(
        catalog, task_id=task_id, owner="w", error="no", retry=False, max_failures=1, retry_seconds=0.0
    )


def create(catalog: Catalog, dataset_id: str, **changes: Any) -> projection_tasks.Created:
    request: dict[str, Any] = {"tenant": TENANT, "method": "pca", "seed": 0, **changes}
    return projection_tasks.create(
        catalog, dataset_id=dataset_id, encoder=ENCODER, encoder_hash=f"hash of {ENCODER}", **request
    )


def get(catalog: Catalog, record: ProjectionRecord) -> ProjectionRecord:
    return projections.get(catalog, tenant=TENANT, projection_id=record.id)


def test_projections__are_listed_newest_first_and_every_page_goes_on(catalog: Catalog) -> None:
    dataset_id = embedded(catalog)
    ids = [create(catalog, dataset_id, seed=seed).projection.id for seed in range(5)]
    listed: list[str] = []
    after = None
    for _ in range(3):
        page = projections.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=2, after=after)
        listed += [record.id for record in page.items]
        after = page.next

    assert after is None
    assert listed == ids[::-1]
    other = projections.list_page(catalog, tenant="stranger", dataset_id=dataset_id, limit=2)
    assert other.items == ()


def test_projection__is_created_once_and_again_where_it_failed(catalog: Catalog) -> None:
    dataset_id = embedded(catalog)
    first, second = create(catalog, dataset_id), create(catalog, dataset_id)
    assert (first.projection.id, first.tasks) == (second.projection.id, second.tasks)
    ((task_id, stage),) = first.tasks
    assert stage == "project"
    give_up(catalog, task_id)
    assert get(catalog, first.projection).task_state == TaskState.FAILED
    assert create(catalog, dataset_id).tasks == first.tasks
    finish(catalog, task_id)

    assert create(catalog, dataset_id).tasks == ()
    assert get(catalog, first.projection).task_state == TaskState.DONE
    told = [
        event.data["state"] for event in events.of_all_tenants(catalog, after=0) if event.kind == "projection"
    ]
    assert told[-3:] == ["queued", "running", "completed"]
    assert "failed" in told


def test_projection__shows_what_is_embedded_and_counts_the_rest(catalog: Catalog) -> None:
    dataset_id = embedded(catalog, fails=1)
    record = create(catalog, dataset_id).projection
    shards = projections.shards(catalog, projection_id=record.id)

    assert len(shards) == 2
    assert record.samples == sum(shard.samples for shard in shards)
    assert record.samples + record.left_out == 6
    first_rows = {2: {0}, 1: {2}, 3: {3}}
    assert all(shard.first_row in first_rows[shard.samples] for shard in shards)


def test_projection__of_another_tenant_or_without_embeddings_is_not_made(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    with pytest.raises(ConflictError, match="curate"):
        create(catalog, dataset_id)
    with pytest.raises(NotFoundError):
        create(catalog, dataset_id, tenant="stranger")
    record = create(catalog, embedded_other(catalog)).projection
    with pytest.raises(NotFoundError):
        projections.get(catalog, tenant="stranger", projection_id=record.id)


def embedded_other(catalog: Catalog) -> str:
    dataset_id = filled(catalog, ["a"], name="others")
    curation(catalog, dataset_id, encoder=ENCODER)
    with catalog.read() as connection:
        row = connection.exec_driver_sql("SELECT id FROM tasks WHERE stage = 'embed'").one()
    finish(catalog, row.id)
    return dataset_id


def test_projection__and_its_events_are_deleted_with_the_dataset(catalog: Catalog) -> None:
    dataset_id = embedded(catalog)
    record = create(catalog, dataset_id).projection
    datasets.finish_deletion(catalog, dataset_id=dataset_id)

    with catalog.read() as connection:
        assert projections.find(connection, projection_id=record.id) is None
