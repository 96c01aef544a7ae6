"""The process that holds a folder of vectors, run in this one: graphs, facets, shards that are held open."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cocu.vectors import edge_graph, edge_process
from cocu.vectors.edge_process import Store
from cocu.vectors.edge_shard import Point

COLLECTION = "samples-e1"


def unit(count: int, seed: int = 0, dimensions: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    opened.ensure(COLLECTION, 8)
    yield opened
    opened.close()


def points(count: int, first: int = 0, seed: int = 0) -> list[Point]:
    vectors = unit(count, seed)
    return [
        (f"00000000-0000-0000-0000-{first + number:012d}", vectors[number], {"row": first + number})
        for number in range(count)
    ]


def put(store: Store, owner: str, batch: list[Point]) -> None:
    ids, vectors, payloads = zip(*batch, strict=True)
    store.upsert(COLLECTION, None, owner, list(ids), np.stack(vectors), list(payloads))


def rows(store: Store, vector: np.ndarray, limit: int = 5) -> list[int]:
    return [payload["row"] for _, payload in store.search(COLLECTION, "o", vector, [], limit, 0, ["row"])]


def finish(store: Store) -> None:
    end = time.monotonic() + 120
    while not store.graphs():
        store.work()
        assert time.monotonic() < end


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs at once, of few points."""
    monkeypatch.setattr(edge_process, "GRAPH_POINTS", 1_000)
    monkeypatch.setattr(edge_process, "GRAPH_SECONDS", 0.0)


def test_a_graph_is_built_while_points_come_and_go(store: Store, eager: None) -> None:
    """What was written during the build is in the copy that takes the place, the newest of everything."""
    put(store, "o", points(3_000))
    assert store.work()
    number = 0
    while not store.graphs():
        if number < 40:
            # Some replace points that have been copied, some that will be, some are new.
            put(store, "o", points(10, first=number * 80, seed=7 + number))
            number += 1
        assert len(rows(store, unit(1)[0])) == 5
        store.work()
    (shard,) = store._shards.values()
    assert shard.without_graph()[0] < 1_000
    assert store.count(COLLECTION, "o", []) == 3_020
    for again in range(40):
        assert rows(store, unit(10, 7 + again)[4], 1) == [again * 80 + 4]
    untouched = 15
    assert rows(store, unit(3_000)[untouched], 1) == [untouched]


def test_a_graph_finds_what_comparing_finds(store: Store, eager: None) -> None:
    everything = unit(5_000)
    put(store, "o", points(5_000))
    queries = unit(50, seed=9)
    before = [rows(store, query, 20) for query in queries]
    finish(store)
    (shard,) = store._shards.values()
    assert shard.without_graph()[0] == 0
    found = [rows(store, query, 20) for query in queries]
    exact = [np.argsort(-(everything @ query))[:20].tolist() for query in queries]
    common = [len({*one} & {*other}) for one, other in zip(found, exact, strict=True)]
    assert np.mean(common) >= 0.99 * 20
    assert np.mean([len({*one} & {*other}) for one, other in zip(before, exact, strict=True)]) >= 0.99 * 20


def test_points_that_are_written_again_get_into_a_graph_again(
    tmp_path: Path, store: Store, eager: None
) -> None:
    """They leave the graph that they were in, though the engine still counts them there."""
    put(store, "o", points(3_000))
    finish(store)
    put(store, "o", points(3_000, seed=8))
    (shard,) = store._shards.values()
    assert shard.without_graph() == (3_000, 3_000)
    store.close()
    reopened = Store(tmp_path)
    assert len(rows(reopened, unit(1)[0])) == 5
    (shard,) = reopened._shards.values()
    assert shard.without_graph() == (3_000, 3_000)
    finish(reopened)
    assert shard.without_graph() == (0, 3_000)
    reopened.close()


def test_a_build_in_vain_is_given_up_and_begun_anew(store: Store, eager: None) -> None:
    """Were it finished, most points would be outside its graph."""
    put(store, "o", points(3_000))
    while store._build is None or not store._build._building:
        store.work()
    first = store._build
    put(store, "o", points(2_000, seed=8))
    store.work()
    assert store._build is not first
    finish(store)
    (shard,) = store._shards.values()
    assert shard.without_graph() == (0, 3_000)


def test_a_build_that_fails_leaves_everything_as_it_was(
    store: Store, eager: None, capfd: pytest.CaptureFixture[str]
) -> None:
    put(store, "o", points(2_000))
    store.work()
    assert store._build is not None
    store._build._process.kill()
    finish(store)
    assert store.count(COLLECTION, "o", []) == 2_000
    assert "no graph was built of" in capfd.readouterr().err


def test_a_build_ends_with_what_it_is_of(store: Store, eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "o", points(2_000))
    store.work()
    process = store._build._process  # type: ignore[union-attr]
    store.delete_owner("samples", "o")
    assert process.poll() is not None
    assert store.graphs()
    assert store.count(COLLECTION, "o", []) == 0
    # The same where too much is written meanwhile.
    put(store, "o", points(2_000))
    store.work()
    monkeypatch.setattr(edge_graph, "MAX_JOURNAL_POINTS", 100)
    put(store, "o", points(101))
    finish(store)
    assert store.count(COLLECTION, "o", []) == 2_000


def test_facets_count_no_point_twice_nor_one_that_is_gone(store: Store, eager: None) -> None:
    """The engine calls these counts inexact; they are what counting finds, whatever was written before."""
    random = np.random.default_rng(3)
    numbers: dict[int, list[int]] = {}

    def write(rows: range) -> None:
        batch = []
        for (id, vector, payload), row in zip(points(len(rows), first=rows.start), rows, strict=True):
            numbers[row] = [*set(random.integers(0, 9, 4).tolist())]
            batch.append((id, vector, payload | {"concepts": numbers[row]}))
        put(store, "o", batch)

    def check() -> None:
        for selected in (set(), {0, 1}):
            condition = [("concepts", [*selected])] if selected else []
            lists = [listed for listed in numbers.values() if not selected or selected & set(listed)]
            counts = Counter(number for listed in lists for number in listed)
            assert store.facet(COLLECTION, "o", "concepts", condition, 100) == counts

    write(range(3_000))
    write(range(500, 1_500))
    check()
    finish(store)
    check()
    write(range(2_500, 3_500))
    check()


def test_few_shards_are_held_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_process, "OPEN_SHARDS", 3)
    for number in range(8):
        put(store, f"o{number}", points(number + 1))
    assert len(store._shards) == 3
    assert [store.count(COLLECTION, f"o{number}", []) for number in range(8)] == list(range(1, 9))


def test_what_was_never_finished_is_deleted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.ensure(COLLECTION, 8)
    put(store, "o", points(10))
    (shard,) = store._shards.values()
    (shard.folder / "half-built").mkdir()
    (tmp_path / "gone.deleted").mkdir()
    store.close()
    again = Store(tmp_path)
    assert again.count(COLLECTION, "o", []) == 10
    assert not (shard.folder / "half-built").exists()
    assert not (tmp_path / "gone.deleted").exists()
    again.close()
