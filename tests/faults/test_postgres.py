"""PostgreSQL restarts, is cut off or silent: no write is lost or done twice, and nothing hangs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text
from tests.catalog.catalog_fixtures import TENANT, curation, dataset, filled, finish, take
from tests.servers.postgres_server import PostgresServer
from tests.servers.tcp_proxy import TcpProxy, tcp_proxy

from cocu.catalog import (
    Catalog,
    curations,
    datasets,
    evaluations,
    events,
    idempotency,
    postgres,
    resumables,
    retry,
    tasks,
    uploads,
    vocabularies,
)
from cocu.catalog.curations import CurationRecord
from cocu.catalog.idempotency import Answer
from cocu.catalog.retry import timeout
from cocu.errors import ConflictError, UnavailableError
from cocu.pipeline import planner, submit

RATES = {"per_second", "remaining_seconds"}
"""What events say that differs from run to run."""


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    name = postgres.new_database()
    Catalog.open(postgres.database_url(name)).close()
    return name


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[TcpProxy]:
    with tcp_proxy(postgres.port) as started:
        yield started


@pytest.fixture
def direct(postgres: PostgresServer, database: str) -> Iterator[Catalog]:
    """The catalog, connected without the proxy."""
    opened = Catalog.open(postgres.database_url(database))
    yield opened
    opened.close()


@pytest.fixture
def catalog(postgres: PostgresServer, database: str, proxy: TcpProxy) -> Iterator[Catalog]:
    """The same catalog behind the proxy."""
    opened = Catalog.open(postgres.database_url(database, port=proxy.port))
    yield opened
    opened.close()


def commits(every: int) -> Callable[[bytes], bool]:
    """Return a function that is true for every n-th COMMIT that a client sends."""
    count = 0

    def watch(data: bytes) -> bool:
        nonlocal count
        if b"COMMIT" not in data:
            return False
        count += 1
        return count % every == 0

    return watch


def run_all(catalog: Catalog, task_refs: list[tuple[str, str]]) -> Counter[str]:
    """Finish tasks until none follow; return the number of tasks of each stage."""
    ran: Counter[str] = Counter()
    while task_refs:
        task_id, stage = task_refs.pop(0)
        task_refs += finish(catalog, task_id)
        ran[stage] += 1
    return ran


def live(catalog: Catalog) -> tuple[CurationRecord, Counter[str]]:
    """Store a dataset with two shards and run its curation to the end."""
    created = curation(catalog, filled(catalog, ["a", "b"], ["c"]))
    ran = run_all(catalog, list(created.tasks))
    curations.store_result(catalog, curation_id=created.curation.id, content_hash="h", statistics={})
    return curations.get(catalog, tenant=TENANT, curation_id=created.curation.id), ran


def rows(catalog: Catalog) -> dict[str, int]:
    tables = ("datasets", "uploads", "shards", "samples", "curations", "curation_shards", "tasks", "events")
    with catalog.read() as connection:
        return {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables
        }


@pytest.mark.parametrize("forward", [False, True], ids=["before it arrived", "before its answer"])
@pytest.mark.parametrize("every", [2, 3])
def test_connection_dropped_in_commit__changes_nothing(
    catalog: Catalog, direct: Catalog, postgres: PostgresServer, proxy: TcpProxy, every: int, forward: bool
) -> None:
    undisturbed = Catalog.open(postgres.new_catalog())
    expected, stages = live(undisturbed)
    proxy.cut_when(commits(every), forward=forward)
    run, ran = live(catalog)
    proxy.cut_when(None, forward=False)

    assert proxy.cuts >= 8
    assert ran == stages
    assert rows(direct) == rows(undisturbed)
    same = {"id": "", "dataset_id": "", "created_at": None, "started_at": None, "finished_at": None}
    assert replace(run, **same) == replace(expected, **same)
    stored_events = [
        [
            (event.kind, {name: value for name, value in event.data.items() if name not in RATES})
            for event in events.since(where, tenant=TENANT, curation_id=record.id)
        ]
        for where, record in ((direct, run), (undisturbed, expected))
    ]
    assert stored_events[0] == stored_events[1]
    with direct.read() as connection:
        tried = connection.execute(text("SELECT max(attempts), max(failures) FROM tasks")).one()
    assert tuple(tried) == (1, 0)
    undisturbed.close()


@pytest.mark.parametrize("forward", [False, True], ids=["before it arrived", "before its answer"])
def test_connection_dropped_in_commit__of_every_single_write(
    catalog: Catalog, direct: Catalog, proxy: TcpProxy, forward: bool
) -> None:
    """Each write ends as if nothing had happened. Most of them would not if they were simply repeated."""

    def cut(write: Callable[[], object]) -> object:
        before = proxy.cuts
        first = iter([True])
        proxy.cut_when(lambda data: b"COMMIT" in data and next(first, False), forward=forward)
        ended = write()
        proxy.cut_when(None, forward=False)
        assert proxy.cuts == before + 1
        return ended

    def id_of(record: object) -> str:
        return record.id  # type: ignore[attr-defined, no-any-return]

    mine = id_of(cut(lambda: datasets.create(catalog, tenant=TENANT, name="cut")))
    upload = id_of(cut(lambda: uploads.register(catalog, tenant=TENANT, dataset_id=mine, name="a")))
    growing = cut(
        lambda: resumables.create(
            catalog,
            tenant=TENANT,
            dataset_id=mine,
            upload_id=upload,
            length=10,
            sha256=None,
            description="",
            seconds=60,
            max_tenant_bytes=100,
        )
    )
    advanced = cut(lambda: resumables.advance(catalog, growing, offset=4, seconds=60))  # type: ignore[arg-type]
    assert advanced.offset == 4  # type: ignore[attr-defined]
    cut(lambda: resumables.complete(catalog, resumable_id=id_of(growing)))
    vocabulary = {"name": "n", "version": "1", "source": "uploaded", "concepts": 3, "hash": "a" * 64}
    _, new = cut(lambda: vocabularies.create(catalog, tenant=TENANT, **vocabulary))  # type: ignore[arg-type, misc]
    assert new
    full = filled(direct, ["a"], ["b"])
    created = cut(lambda: curation(catalog, full))
    assert (created.new, len(created.tasks)) == (True, 2)  # type: ignore[attr-defined]
    run = created.curation.id  # type: ignore[attr-defined]
    (first, _), (second, _) = created.tasks  # type: ignore[attr-defined]
    assert cut(lambda: take(catalog, first))
    assert cut(lambda: planner.renew(catalog, task_id=first, owner="worker", seconds=60, units_done=1))
    assert len(cut(lambda: planner.finish(catalog, task_id=first, owner="worker"))) == 1  # type: ignore[arg-type]
    assert take(catalog, second)
    cut(lambda: planner.hand_back(catalog, task_id=second, owner="worker"))
    assert take(catalog, second)
    cut(lambda: give_up(catalog, second))
    with direct.read() as connection:
        task = tasks.get(connection, task_id=second)
    assert task is not None
    assert (task.attempts, task.failures) == (1, 1)
    metrics = {"labels_hash": "l", "parameters": {}, "metrics": {}}
    _, new = cut(lambda: evaluations.store(catalog, tenant=TENANT, curation_id=run, **metrics))  # type: ignore[misc]
    assert new
    key = {"tenant": TENANT, "key": "k", "owner": "me"}
    seconds = {"claim_seconds": 60.0, "kept_seconds": 60.0}
    assert cut(lambda: idempotency.claim(catalog, **key, fingerprint="f", **seconds)) is None  # type: ignore[arg-type]
    answer = Answer(201, {}, b"{}")
    cut(lambda: idempotency.store_answer(catalog, **key, answer=answer))
    repeated = {**key, "owner": "you", "fingerprint": "f"}
    assert idempotency.claim(catalog, **repeated, **seconds) == answer  # type: ignore[arg-type]
    assert cut(lambda: curations.cancel(catalog, tenant=TENANT, curation_id=run)).state == "cancelled"  # type: ignore[attr-defined]
    assert len(cut(lambda: submit.delete_dataset(catalog, tenant=TENANT, dataset_id=full))) == 1  # type: ignore[arg-type]


def give_up(catalog: Catalog, task_id: str) -> None:
    planner.give_up(
        catalog,
        task_id=task_id,
        owner="worker",
        error="away",
        retry=True,
        max_failures=9,
        retry_seconds=0.0,
    )


def test_restart__while_many_write_loses_and_doubles_nothing(
    catalog: Catalog, direct: Catalog, postgres: PostgresServer
) -> None:
    """Every acknowledged write is stored afterwards, and nothing that was not requested."""
    acknowledged: list[str] = []
    ended = threading.Event()

    def write(number: int) -> None:
        with timeout(60.0):
            turn = 0
            while not ended.is_set():
                acknowledged.append(dataset(catalog, name=f"{number} {turn}"))
                turn += 1

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        for _ in range(4):
            time.sleep(0.3)
            postgres.restart(down_seconds=0.2)
        time.sleep(0.3)
        ended.set()
        for writer in writers:
            writer.result()
    with direct.read() as connection:
        stored = set(connection.execute(text("SELECT id FROM datasets")).scalars())

    assert len(acknowledged) > 20
    assert stored == set(acknowledged)


def test_crash_before_commit__whose_transaction_number_another_gets(
    catalog: Catalog, direct: Catalog, postgres: PostgresServer, proxy: TcpProxy
) -> None:
    """The server then says that this transaction number was committed, but it was another transaction."""
    crashes = iter([True])

    def crash(data: bytes) -> bool:
        if b"COMMIT" not in data or not next(crashes, False):
            return False
        proxy.refusing = True
        postgres.restart()
        for number in range(5):
            dataset(direct, name=f"another {number}")
        proxy.refusing = False
        return True

    proxy.cut_when(crash, forward=False)
    with timeout(60.0):
        mine = dataset(catalog, name="mine")

    assert proxy.cuts == 1
    assert datasets.get(direct, tenant=TENANT, dataset_id=mine).name == "mine"


def test_away__is_said_in_time_and_without_its_words(
    catalog: Catalog, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = dataset(catalog)
    postgres.kill()
    began = time.monotonic()
    try:
        with timeout(0.5), pytest.raises(UnavailableError) as caught:
            datasets.get(catalog, tenant=TENANT, dataset_id=mine)
        with timeout(0.5), pytest.raises(UnavailableError):
            datasets.create(catalog, tenant=TENANT, name="other")
        with pytest.raises(UnavailableError):
            catalog.check()
        took = time.monotonic() - began
    finally:
        postgres.start()

    assert took < 30
    for word in ("127.0.0.1", "SELECT", "psycopg", "cocu:"):
        assert word not in str(caught.value)
    assert datasets.get(catalog, tenant=TENANT, dataset_id=mine).id == mine


@pytest.mark.slow
@pytest.mark.parametrize("call", ["read", "write", "commit"])
def test_silent__is_given_up_and_the_connection_with_it(
    catalog: Catalog, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    mine = dataset(catalog)
    monkeypatch.setattr(postgres, "SILENCE_SECONDS", 0.5)
    began = time.monotonic()

    def fall_silent(data: bytes) -> bool:
        proxy.silent = proxy.silent or b"COMMIT" in data
        return False

    if call == "commit":
        proxy.cut_when(fall_silent, forward=False)
    else:
        proxy.silent = True
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: datasets.get(catalog, tenant=TENANT, dataset_id=mine),
        "write": lambda: datasets.create(catalog, tenant=TENANT, name="other"),
        "commit": lambda: datasets.create(catalog, tenant=TENANT, name="other"),
    }
    with timeout(1.0), pytest.raises(UnavailableError):
        calls[call]()
    took = time.monotonic() - began
    proxy.cut_when(None, forward=False)
    proxy.silent = False
    proxy.cut_all()

    assert took < 30
    assert datasets.get(catalog, tenant=TENANT, dataset_id=mine).id == mine


def test_slow__is_waited_for(catalog: Catalog, proxy: TcpProxy) -> None:
    proxy.delay_seconds = 0.1

    assert dataset(catalog)


def test_deadlock__is_repeated(direct: Catalog) -> None:
    """Two transactions that take the same two locks in opposite order: both succeed."""
    first, second = (dataset(direct, name=name) for name in ("1", "2"))
    holding = threading.Barrier(2, timeout=30)
    attempts: Counter[str] = Counter()

    @retry.retry_on_outage
    def lock(catalog: Catalog, dataset_id: str, other_id: str) -> None:
        attempts[dataset_id] += 1
        with catalog.write() as connection:
            datasets.lock(connection, dataset_id=dataset_id)
            if attempts[dataset_id] == 1:
                holding.wait()
            datasets.lock(connection, dataset_id=other_id)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(lock, direct, first, second), pool.submit(lock, direct, second, first)]
        for call in calls:
            call.result()

    assert sorted(attempts.values()) == [1, 2]


def test_connections__that_are_all_in_use_are_not_waited_for_forever(
    postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog.open(postgres.database_url(database), connections=2)
    monkeypatch.setattr(catalog._engine.pool, "_timeout", 0.2)
    with catalog.read(), catalog.read(), pytest.raises(UnavailableError, match="in use"):
        datasets.list_page(catalog, tenant=TENANT, limit=1)
    assert datasets.list_page(catalog, tenant=TENANT, limit=1).items == ()
    catalog.close()


def test_lock_held_too_long__is_unavailable_and_an_error_of_the_caller_is_not(
    direct: Catalog, postgres: PostgresServer, database: str
) -> None:
    mine = dataset(direct)
    impatient = Catalog.open(
        postgres.database_url(database) + "?options=-c%20lock_timeout%3D200ms", connections=2
    )
    with direct.write() as connection:
        datasets.lock(connection, dataset_id=mine)
        with pytest.raises(UnavailableError, match="cannot do this now"):
            uploads.register(impatient, tenant=TENANT, dataset_id=mine, name="a")
    with pytest.raises(ConflictError):
        dataset(impatient)
    impatient.close()
