"""How PostgreSQL finds rows among very many: by an index, wherever a request or a worker waits for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Connection, String, Text, event, text
from tests.catalog.catalog_fixtures import TENANT, dataset, received, take
from tests.servers.postgres_server import PostgresServer

from cocu.catalog import (
    Catalog,
    curations,
    datasets,
    events,
    idempotency,
    models,
    quotas,
    rejections,
    resumables,
    samples,
    tasks,
    uploads,
)
from cocu.catalog.tasks import TaskRecord
from cocu.pipeline import demand, ingest_result

MANY = 60_000
"""Samples; of everything else more than belongs to them."""


def fill(connection: Connection, model: type[models.Base], count: int, **columns: str) -> None:
    """Rows of a table, numbered n, with these SQL expressions; what must have a value has an empty one."""
    for column in model.__table__.columns:
        if column.name not in columns and not column.nullable and column.autoincrement is not True:
            columns[column.name] = _EMPTY.get(type(column.type), "0")
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(columns.values())
    table = model.__table__.name
    connection.exec_driver_sql(
        f"INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(1, {count}) AS n"
    )


_EMPTY = {String: "''", Text: "''", JSON: "'{}'", Boolean: "false"}
TENANT_ID = "'t' || mod(n, 50)"
DATASET_ID = "'d' || mod(n, 2000) + 1"
RUN_ID = "'c' || mod(n, 10000) + 1"


def fill_all(connection: Connection) -> None:
    own = {"tenant": TENANT_ID, "dataset_id": DATASET_ID}
    name, state = "'n' || n", "'active'"
    fill(connection, models.Dataset, 2_000, id="'d' || n", tenant=TENANT_ID, name=name, state=state)
    state = "'ingested'"
    fill(connection, models.Upload, 20_000, id="'u' || n", **own, name=name, state=state, ordinal="n")
    shards = {"id": "'s' || n", "upload_id": "'u' || n", "upload_ordinal": "n"}
    fill(connection, models.Shard, 20_000, **own, **shards)
    # A shard has the dataset of its number, and so has each of its samples.
    fill(connection, models.Sample, MANY, **own, key="'k' || n", shard_id="'s' || mod(n - 1, 20000) + 1")
    reason, upload = "'r' || mod(n, 7)", "'u' || mod(n, 20000) + 1"
    fill(connection, models.Rejection, 40_000, **own, reason=reason, upload_id=upload, outcome="'skipped'")
    state = "CASE mod(n, 100) WHEN 0 THEN 'running' ELSE 'completed' END"
    created = {"encoder_hash": "'e'", "created_at": "n"}
    fill(connection, models.Curation, 10_000, id="'c' || n", **own, state=state, **created)
    seen = {"curation_id": RUN_ID, "shard_id": "'s' || n", "ordinal": "n"}
    fill(connection, models.CurationShard, 20_000, **seen)
    state = "CASE mod(n, 500) WHEN 0 THEN 'running' ELSE 'done' END"
    work = {"owner_key": RUN_ID, "curation_id": RUN_ID, "stage": "'curate'", "target": "'s' || n"}
    fill(connection, models.Task, 60_000, id="'x' || n", **own, **work, state=state, lease_until="n")
    fill(connection, models.Event, 40_000, tenant=TENANT_ID, curation_id=RUN_ID)
    long = {"expires_at": "9e9"}
    fill(connection, models.IdempotencyKey, 20_000, tenant=TENANT_ID, key="'k' || n", **long)
    resumable = {"id": "'r' || n", "upload_id": upload, "state": "'completed'"}
    fill(connection, models.ResumableUpload, 20_000, **own, **resumable, **long)


TASK: dict[str, Any] = {"id": "x7", "tenant": "t7", "dataset_id": "d8", "owner_key": "c8", "stage": "curate"}
TASK |= {"target": "s7", "curation_id": "c8", "state": "done", "attempts": 1, "failures": 0}
TASK |= {"units_total": 1, "units_done": 1, "requested": False, "error": None}
SHARED = TaskRecord(**{**TASK, "stage": "embed", "owner_key": "e", "curation_id": None})

QUERIES: dict[str, Callable[[Catalog], object]] = {
    "sample": lambda catalog: samples.find_many(catalog, tenant="t7", dataset_id="d8", keys=["k7", "k9"]),
    "samples": lambda catalog: samples.list_page(
        catalog, tenant="t7", dataset_id="d8", limit=100, after="k2"
    ),
    "shards": lambda catalog: samples.shards(catalog, tenant="t7", dataset_id="d8"),
    "owners": lambda catalog: samples.owned_before(catalog, dataset_id="d8", ordinal=9, keys=["k7", "k9"]),
    "datasets": lambda catalog: datasets.list_page(catalog, tenant="t7", limit=20, after="d2"),
    "uploads": lambda catalog: uploads.list_page(catalog, tenant="t7", dataset_id="d8", limit=20, after="u"),
    "discardable": lambda catalog: uploads.discardable(catalog, dataset_id="d8"),
    "quota": lambda catalog: quotas.check_room(catalog, tenant="t7", size=1, limit=10**15),
    "report": lambda catalog: rejections.report(catalog, tenant="t7", dataset_id="d8"),
    "rejections": lambda catalog: rejections.list_page(
        catalog, tenant="t7", dataset_id="d8", limit=20, after="5"
    ),
    "rejections by reason": lambda catalog: rejections.list_page(
        catalog, tenant="t7", dataset_id="d8", limit=20, after="5", reason="r3"
    ),
    "curations": lambda catalog: curations.list_page(catalog, tenant="t7", limit=20, after="7.0:c7"),
    "snapshot": lambda catalog: curations.shards(catalog, curation_id="c8"),
    "newest curations": lambda catalog: curations.list_page(
        catalog, tenant="t7", limit=20, after="7.0:c7", states=["running"], newest_first=True
    ),
    "events": lambda catalog: events.since(catalog, tenant="t", curation_id="c8", after=3),
    "events of a tenant": lambda catalog: events.of_tenant(catalog, tenant="t7", after=3, up_to=30_000),
    "events of all": lambda catalog: events.of_all_tenants(catalog, after=39_000),
    "settled events": events.settled,
    "newest event": events.newest,
    "sweep": tasks.sweep,
    "unfinished": tasks.unfinished,
    "others running": lambda catalog: tasks.others_are_running(catalog, dataset_id="d8", but="x"),
    "expired uploads": resumables.expire,
    "expired keys": idempotency.forget_expired,
}


@pytest.fixture(scope="module")
def catalog(postgres: PostgresServer) -> Iterator[Catalog]:
    with closing(Catalog.open(postgres.new_catalog())) as opened:
        with opened.write() as connection:
            fill_all(connection)
        with opened.write() as connection:
            connection.exec_driver_sql("ANALYZE")
        yield opened


def plans(catalog: Catalog, call: Callable[[Catalog], object]) -> list[str]:
    """How the server goes about each statement of a call."""
    statements: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if re.match(r"\s*(SELECT|UPDATE|DELETE)", statement) and " FROM " in statement + " FROM ":
            statements.append((statement, parameters))

    event.listen(catalog._engine, "before_cursor_execute", note)
    try:
        call(catalog)
    finally:
        event.remove(catalog._engine, "before_cursor_execute", note)
    query_plans = []
    with catalog._engine.connect() as connection:
        for statement, parameters in statements:
            lines = connection.exec_driver_sql("EXPLAIN " + statement, parameters).scalars()
            query_plans.append("\n".join(lines))
        connection.rollback()
    return query_plans


@pytest.mark.parametrize("name", QUERIES)
def test_query__reads_no_large_table_from_end_to_end(catalog: Catalog, name: str) -> None:
    query_plans = plans(catalog, QUERIES[name])

    assert any("Index" in plan for plan in query_plans)
    for plan in query_plans:
        assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize("task", [TaskRecord(**TASK), SHARED], ids=["own", "shared"])
def test_task__is_known_to_be_wanted_by_indexes(catalog: Catalog, task: TaskRecord) -> None:
    def ask(asked: Catalog) -> None:
        with asked.read() as connection:
            demand.is_needed(connection, task)

    for plan in plans(catalog, ask):
        assert "Seq Scan" not in plan, plan


def test_ten_thousand_keys__are_stored_with_their_shard(catalog: Catalog) -> None:
    keys = [f"key {number}" for number in range(10_000)]
    dataset_id = dataset(catalog, name="large")
    upload_id, task_id = received(catalog, dataset_id, "a.tar")
    assert take(catalog, task_id)
    shard = samples.NewShard(id="large", keys=tuple(keys), bytes=1, sha256="")
    ingest = {"task_id": task_id, "owner": "worker", "upload_id": upload_id}
    assert ingest_result.store_ingested(catalog, **ingest, shards=[shard], rejected=[]) == []

    page = samples.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=5, after="key 5")
    assert [sample.key for sample in page.items] == sorted(key for key in keys if key > "key 5")[:5]
    with catalog.read() as connection:
        counted = connection.execute(
            text("SELECT count(*) FROM samples WHERE dataset_id = :id"), {"id": dataset_id}
        )
        assert counted.scalar_one() == 10_000
