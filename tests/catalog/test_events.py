"""Events of everything: one order, no id twice, and none is missed whatever runs beside others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, select, update
from tests.catalog.catalog_fixtures import TENANT, curation, dataset, filled, received, take

from cocu.catalog import Catalog, datasets, events, models, uploads
from cocu.catalog.states import EventKind
from cocu.pipeline import planner, submit_uploads


def states(catalog: Catalog) -> list[tuple[str, str]]:
    return [
        (str(record.data["upload"]), str(record.data["state"]))
        for record in events.of_all_tenants(catalog, after=0)
        if record.kind == EventKind.UPLOAD
    ]


def remove(catalog: Catalog, event_id: int) -> None:
    with catalog.write() as connection:
        connection.execute(delete(models.Event).where(models.Event.id == event_id))


def test_events__tell_every_state_of_an_upload(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    upload = uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="b.tar")
    uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="b.tar")  # the same attempt
    uploads.fail(catalog, tenant="stranger", upload_id=upload.id, error="not theirs")
    uploads.fail(catalog, tenant=TENANT, upload_id=upload.id, error="the connection broke")
    uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="b.tar")
    told = [state for name, state in states(catalog) if name == "b.tar"]
    assert told == ["receiving", "failed", "receiving"]
    first = [state for name, state in states(catalog) if name != "b.tar"]
    assert first == ["receiving", "received", "ingested"]
    failed = next(record for record in events.of_all_tenants(catalog, after=0) if "detail" in record.data)
    assert (failed.data["detail"], failed.dataset_id, failed.curation_id) == (
        "the connection broke",
        dataset_id,
        None,
    )


def test_events__tell_of_files_that_cannot_be_read_and_are_retried(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    _, task_id = received(catalog, dataset_id, "a.tar")
    assert take(catalog, task_id)
    planner.give_up(
        catalog, task_id=task_id, owner="worker", error="no tar", retry=False, max_failures=1, retry_seconds=0
    )
    submit_uploads.retry_uploads(catalog, tenant=TENANT, dataset_id=dataset_id)
    assert [state for _, state in states(catalog)] == ["receiving", "received", "failed", "received"]


def test_events__of_a_curation_have_its_dataset_and_come_between_those_of_uploads(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    run = curation(catalog, dataset_id).curation.id
    received(catalog, dataset_id, "b.tar")
    told = events.of_all_tenants(catalog, after=0)
    assert [record.id for record in told] == sorted({record.id for record in told})
    assert {record.dataset_id for record in told} == {dataset_id}
    assert [record.curation_id for record in told][-3:] == [run, None, None]
    own = events.of_tenant(catalog, tenant=TENANT, after=told[0].id, up_to=told[-2].id)
    assert own == told[1:-1]
    assert events.of_tenant(catalog, tenant="stranger", after=0, up_to=told[-1].id) == []


def test_events__behind_a_gap_wait_until_the_missing_one_may_not_come_any_more(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    received(catalog, dataset_id, "b.tar")
    told = events.of_all_tenants(catalog, after=0)
    missing = told[-2].id
    remove(catalog, missing)
    assert events.of_all_tenants(catalog, after=0) == told[:-2]
    with catalog.write() as connection:  # it was committed late
        connection.execute(
            insert(models.Event).values(
                id=missing, tenant=TENANT, dataset_id=dataset_id, kind=EventKind.UPLOAD, data={}
            )
        )
    assert [record.id for record in events.of_all_tenants(catalog, after=0)] == [record.id for record in told]
    remove(catalog, missing)
    long_ago = datetime.now(UTC) - timedelta(seconds=2 * events.GAP_SECONDS)
    with catalog.write() as connection:
        connection.execute(update(models.Event).values(created_at=long_ago))
    ids = [record.id for record in events.of_all_tenants(catalog, after=0)]
    assert ids == [record.id for record in told if record.id != missing]
    assert events.settled(catalog) == told[-1].id


def test_events__get_no_id_twice_also_after_the_last_ones_are_deleted(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    last = events.of_all_tenants(catalog, after=0)[-1].id
    datasets.finish_deletion(catalog, dataset_id=dataset_id)
    with catalog.read() as connection:
        assert connection.execute(select(models.Event.id)).all() == []
    received(catalog, dataset(catalog, name="another"), "b.tar")
    with catalog.read() as connection:
        ids = list(connection.execute(select(models.Event.id)).scalars())
    assert min(ids) > last
