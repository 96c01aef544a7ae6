"""The catalog under many hands: the same in a file and on a server. What it stores: tests/storage/catalog."""

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
from tests.storage.catalog.filling import TENANT, curation, dataset, filled, finish

from cocu.errors import ConflictError, InvalidInputError, LimitExceededError, NotFoundError
from cocu.storage.catalog import (
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
from cocu.storage.catalog.idempotency import InFlightError

T = TypeVar("T")

HANDS = 6


def at_once(call: Callable[[int], T]) -> list[T]:
    """What the same call gives to several threads that make it at the same moment."""
    barrier = threading.Barrier(HANDS)

    def one(number: int) -> T:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(HANDS) as pool:
        return list(pool.map(one, range(HANDS)))


def outcome(call: Callable[[], object]) -> str:
    """The name of what a call ends in."""
    try:
        call()
    except (ConflictError, LimitExceededError, NotFoundError) as error:
        return type(error).__name__
    return "done"


def test_catalog__is_migrated_once_by_processes_that_start_at_once(catalog_url: str) -> None:
    program = "import sys; from cocu.storage.catalog import Catalog; Catalog.open(sys.argv[1]).close()"
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

    with pytest.raises(InvalidInputError, match="not of this version"):
        Catalog.open(catalog_url)


def test_dataset__of_one_name_is_made_once(catalog: Catalog) -> None:
    ended = at_once(lambda _: outcome(lambda: dataset(catalog)))

    assert Counter(ended) == {"done": 1, "ConflictError": HANDS - 1}


def test_upload__of_one_name_announced_at_once_is_one(catalog: Catalog) -> None:
    mine = dataset(catalog)
    ids = at_once(lambda _: uploads.register(catalog, tenant=TENANT, dataset_id=mine, name="a.tar").id)

    assert len(set(ids)) == 1


def test_uploads__that_arrive_at_once_have_ordinals_without_a_gap(catalog: Catalog) -> None:
    mine = dataset(catalog)

    def receive(number: int) -> int | None:
        announced = uploads.register(catalog, tenant=TENANT, dataset_id=mine, name=f"{number}.tar")
        received, planned = uploads.receive(
            catalog,
            tenant=TENANT,
            upload_id=announced.id,
            object_path=f"files/{number}",
            size=1,
            sha256=f"{number}",
        )
        assert len(planned) == 1
        return received.ordinal

    assert sorted(at_once(receive)) == list(range(HANDS))


def test_quota__holds_for_a_tenant_who_sends_to_several_datasets_at_once(catalog: Catalog) -> None:
    announced = []
    for number in range(HANDS):
        mine = dataset(catalog, name=f"set {number}")
        announced.append(uploads.register(catalog, tenant=TENANT, dataset_id=mine, name="a.tar"))

    def receive(number: int) -> str:
        return outcome(
            lambda: uploads.receive(
                catalog,
                tenant=TENANT,
                upload_id=announced[number].id,
                object_path=f"files/{number}",
                size=10,
                sha256="the same",
                max_tenant_bytes=35,
            )
        )

    assert Counter(at_once(receive)) == {"done": 3, "LimitExceededError": HANDS - 3}


def test_quota__holds_for_resumable_uploads_announced_at_once(catalog: Catalog) -> None:
    mine = dataset(catalog)
    upload = uploads.register(catalog, tenant=TENANT, dataset_id=mine, name="a.tar")

    def announce(_: int) -> str:
        return outcome(
            lambda: resumables.create(
                catalog,
                tenant=TENANT,
                dataset_id=mine,
                upload_id=upload.id,
                length=10,
                sha256=None,
                description="",
                seconds=60,
                max_tenant_bytes=25,
            )
        )

    assert Counter(at_once(announce)) == {"done": 2, "LimitExceededError": HANDS - 2}


def test_vocabulary__stored_by_many_at_once_is_new_to_one(catalog: Catalog) -> None:
    given = {"tenant": TENANT, "name": "n", "version": "1", "source": "uploaded", "concepts": 3}
    stored = at_once(lambda _: vocabularies.create(catalog, **given, hash="a" * 64))

    assert Counter(new for _, new in stored) == {True: 1, False: HANDS - 1}
    assert len({record for record, _ in stored}) == 1


def test_evaluation__stored_by_many_at_once_is_new_to_one(catalog: Catalog) -> None:
    run = curation(catalog, filled(catalog, ["a"])).curation.id
    given = {"tenant": TENANT, "curation_id": run, "labels_hash": "h", "parameters": {}}
    stored = at_once(lambda number: evaluations.store(catalog, **given, metrics={"by": number}))

    assert Counter(new for _, new in stored) == {True: 1, False: HANDS - 1}
    assert len({record.metrics["by"] for record, _ in stored}) == 1


def test_curation__asked_for_by_many_at_once_is_one(catalog: Catalog) -> None:
    mine = filled(catalog, ["a"], ["b"])
    created = at_once(lambda _: curation(catalog, mine))

    assert Counter(one.new for one in created) == {True: 1, False: HANDS - 1}
    assert sum(len(one.chunks) for one in created) == 2


def test_idempotency_key__is_claimed_by_one(catalog: Catalog) -> None:
    def claim(number: int) -> str:
        try:
            before = idempotency.claim(
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
        return "mine" if before is None else "answered"

    assert Counter(at_once(claim)) == {"mine": 1, "in flight": HANDS - 1}


def test_curation__worked_on_by_many_at_once_does_every_chunk_once(catalog: Catalog) -> None:
    """Two curations share what the encoder does; their chunks end in any order, on every hand."""
    mine = filled(catalog, *([f"{number}"] for number in range(8)))
    runs = [curation(catalog, mine, parameters=name) for name in ("p", "q")]
    waiting = {chunk for run in runs for chunk in run.chunks}
    ran: Counter[str] = Counter()
    while waiting:
        with ThreadPoolExecutor(HANDS) as pool:
            done = list(waiting)
            followed = list(pool.map(lambda chunk: finish(catalog, chunk[0]), done))
        ran.update(stage for _, stage in done)
        waiting = {chunk for some in followed for chunk in some}

    assert ran == {"embed": 8, "index": 8, "neighbours": 16, "group": 2, "curate": 16, "publish": 2}
    for run in runs:
        ended = curations.get(catalog, tenant=TENANT, curation_id=run.curation.id)
        assert ended.state == "completed"


def test_keys__are_sorted_by_their_bytes(catalog: Catalog) -> None:
    keys = ["b", "B", "a", "_", "ä", "a b", "10", "9", "\N{GRINNING FACE}", "\uffff"]
    mine = filled(catalog, keys)
    listed: list[str] = []
    after: str | None = None
    while True:
        page = samples.list_page(catalog, tenant=TENANT, dataset_id=mine, limit=3, after=after)
        listed += [one.key for one in page.items]
        after = page.next
        if after is None:
            break

    assert listed == sorted(keys, key=str.encode)


def test_deletion__removes_every_row(catalog: Catalog) -> None:
    mine = filled(catalog, ["a", "b"], ["c"])
    curation(catalog, mine)
    datasets.begin_deletion(catalog, tenant=TENANT, dataset_id=mine)
    for _ in range(2):
        datasets.finish_deletion(catalog, dataset_id=mine)

    for table in ("datasets", "uploads", "shards", "samples", "chunks", "curations", "curation_shards"):
        with catalog.read() as connection:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
