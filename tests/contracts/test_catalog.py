"""The catalog under many hands: the same in a file and on a server. What it stores: tests/catalog."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from sqlalchemy import text
from tests.catalog.catalog_fixtures import TENANT, curation, dataset, filled, finish

from cocu.catalog import (
    Catalog,
    curations,
    datasets,
    evaluations,
    idempotency,
    resumables,
    samples,
    uploads,
    vocabularies,
)
from cocu.catalog.idempotency import InFlightError
from cocu.errors import ConflictError, InvalidInputError, LimitExceededError, NotFoundError
from cocu.pipeline import submit, submit_uploads

T = TypeVar("T")

THREADS = 6


def at_once(call: Callable[[int], T]) -> list[T]:
    """Make the same call on several threads at the same moment; return the results."""
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> T:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def outcome(call: Callable[[], object]) -> str:
    """The name of the error that a call raises, else "done"."""
    try:
        call()
    except (ConflictError, LimitExceededError, NotFoundError) as error:
        return type(error).__name__
    return "done"


def test_catalog__is_migrated_once_by_processes_that_start_at_once(catalog_url: str) -> None:
    program = "import sys; from cocu.catalog import Catalog; Catalog.open(sys.argv[1]).close()"
    started = [subprocess.Popen([sys.executable, "-c", program, catalog_url]) for _ in range(4)]

    assert [process.wait(60) for process in started] == [0] * 4
    catalog = Catalog.open(catalog_url)
    dataset(catalog)
    catalog.close()


def test_catalog__of_a_newer_version_is_refused(catalog_url: str) -> None:
    catalog = Catalog.open(catalog_url)
    with catalog.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    catalog.close()

    with pytest.raises(InvalidInputError, match="a newer cocu made it"):
        Catalog.open(catalog_url)


def test_dataset__of_one_name_is_made_once(catalog: Catalog) -> None:
    ended = at_once(lambda _: outcome(lambda: dataset(catalog)))

    assert Counter(ended) == {"done": 1, "ConflictError": THREADS - 1}


def test_upload__of_one_name_announced_at_once_is_one(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    ids = at_once(lambda _: uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar").id)

    assert len(set(ids)) == 1


def test_uploads__that_arrive_at_once_have_ordinals_without_a_gap(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)

    def receive(number: int) -> int | None:
        announced = uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name=f"{number}.tar")
        received, task_refs = submit_uploads.receive_upload(
            catalog,
            tenant=TENANT,
            upload_id=announced.id,
            object_path=f"files/{number}",
            size=1,
            sha256=f"{number}",
        )
        assert len(task_refs) == 1
        return received.ordinal

    assert sorted(at_once(receive)) == list(range(THREADS))


def test_quota__holds_for_a_tenant_who_sends_to_several_datasets_at_once(catalog: Catalog) -> None:
    announced = []
    for number in range(THREADS):
        dataset_id = dataset(catalog, name=f"set {number}")
        announced.append(uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar"))

    def receive(number: int) -> str:
        return outcome(
            lambda: submit_uploads.receive_upload(
                catalog,
                tenant=TENANT,
                upload_id=announced[number].id,
                object_path=f"files/{number}",
                size=10,
                sha256="the same",
                max_tenant_bytes=35,
            )
        )

    assert Counter(at_once(receive)) == {"done": 3, "LimitExceededError": THREADS - 3}


def test_quota__holds_for_resumable_uploads_announced_at_once(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    upload = uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar")

    def announce(_: int) -> str:
        return outcome(
            lambda: resumables.create(
                catalog,
                tenant=TENANT,
                dataset_id=dataset_id,
                upload_id=upload.id,
                length=10,
                sha256=None,
                description="",
                seconds=60,
                max_tenant_bytes=25,
            )
        )

    assert Counter(at_once(announce)) == {"done": 2, "LimitExceededError": THREADS - 2}


def test_vocabulary__stored_by_many_at_once_is_new_to_one(catalog: Catalog) -> None:
    vocabulary = {"tenant": TENANT, "name": "n", "version": "1", "source": "uploaded", "concepts": 3}
    stored = at_once(lambda _: vocabularies.create(catalog, **vocabulary, hash="a" * 64))

    assert Counter(new for _, new in stored) == {True: 1, False: THREADS - 1}
    assert len({record for record, _ in stored}) == 1


def test_evaluation__stored_by_many_at_once_is_new_to_one(catalog: Catalog) -> None:
    run = curation(catalog, filled(catalog, ["a"])).curation.id
    evaluation = {"tenant": TENANT, "curation_id": run, "labels_hash": "h", "parameters": {}}
    stored = at_once(lambda number: evaluations.store(catalog, **evaluation, metrics={"by": number}))

    assert Counter(new for _, new in stored) == {True: 1, False: THREADS - 1}
    assert len({record.metrics["by"] for record, _ in stored}) == 1


def test_curation__asked_for_by_many_at_once_is_one(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"], ["b"])
    created = at_once(lambda _: curation(catalog, dataset_id))

    assert Counter(result.new for result in created) == {True: 1, False: THREADS - 1}
    assert sum(len(result.tasks) for result in created) == 2


def test_idempotency_key__is_claimed_by_one(catalog: Catalog) -> None:
    def claim(number: int) -> str:
        try:
            answer = idempotency.claim(
                catalog,
                tenant=TENANT,
                key="k",
                fingerprint="f",
                owner=f"{number}",
                claim_seconds=60,
                kept_seconds=60,
            )
        except InFlightError:
            return "in flight"
        return "claimed" if answer is None else "answered"

    assert Counter(at_once(claim)) == {"claimed": 1, "in flight": THREADS - 1}


def test_curation__worked_on_by_many_at_once_does_every_task_once(catalog: Catalog) -> None:
    """Two curations share what the encoder does; their tasks end in any order, on every thread."""
    dataset_id = filled(catalog, *([f"{number}"] for number in range(8)))
    runs = [curation(catalog, dataset_id, parameters=name) for name in ("p", "q")]
    waiting = {task for run in runs for task in run.tasks}
    ran: Counter[str] = Counter()
    while waiting:
        with ThreadPoolExecutor(THREADS) as pool:
            done = list(waiting)
            followed = list(pool.map(lambda task: finish(catalog, task[0]), done))
        ran.update(stage for _, stage in done)
        waiting = {task for tasks in followed for task in tasks}

    once = {"embed": 8, "index": 8, "neighbours": 16, "aggregate": 2, "curate": 16, "publish": 2}
    assert ran == once | {"index_concepts": 16}
    for run in runs:
        ended = curations.get(catalog, tenant=TENANT, curation_id=run.curation.id)
        assert ended.state == "completed"


def test_keys__are_sorted_by_their_bytes(catalog: Catalog) -> None:
    keys = ["b", "B", "a", "_", "ä", "a b", "10", "9", "\N{GRINNING FACE}", "\uffff"]
    dataset_id = filled(catalog, keys)
    listed: list[str] = []
    after: str | None = None
    while True:
        page = samples.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=3, after=after)
        listed += [sample.key for sample in page.items]
        after = page.next
        if after is None:
            break

    assert listed == sorted(keys, key=str.encode)


def test_deletion__removes_every_row(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a", "b"], ["c"])
    curation(catalog, dataset_id)
    submit.delete_dataset(catalog, tenant=TENANT, dataset_id=dataset_id)
    for _ in range(2):
        datasets.finish_deletion(catalog, dataset_id=dataset_id)

    for table in ("datasets", "uploads", "shards", "samples", "tasks", "curations", "curation_shards"):
        with catalog.read() as connection:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
