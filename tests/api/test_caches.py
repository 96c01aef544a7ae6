"""Caches of queries: bounded in number and in size, whatever is put into them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.api.queries import tables as table_cache
from cocu.api.queries.lru_cache import LruCache
from cocu.storage import tables
from cocu.storage.objects import ObjectStore


@given(st.lists(st.tuples(st.integers(0, 6), st.binary(max_size=12))), st.integers(1, 4), st.integers(0, 20))
def test_cache__is_bounded_and_keeps_what_was_used_last(
    puts: list[tuple[int, bytes]], room: int, max_size: int
) -> None:
    cache: LruCache[int, bytes] = LruCache(room, size_of=len, max_size=max_size)
    expected: dict[int, bytes] = {}
    for key, value in puts:
        cache.put(key, value)
        expected.pop(key, None)
        if len(value) <= max_size:
            expected[key] = value
        while len(expected) > room or sum(map(len, expected.values())) > max_size:
            del expected[next(iter(expected))]
        kept = {number: found for number in range(7) if (found := cache.find(number)) is not None}
        assert kept == expected
        # Looking made the order that of the numbers.
        expected = {number: expected[number] for number in sorted(expected)}


def test_tables__are_bounded_in_number_and_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_cache, "MAX_BYTES", 30_000)
    objects = ObjectStore.open(str(tmp_path))
    sizes = {"small-1": 10, "small-2": 10, "small-3": 10, "wide-1": 2_000, "wide-2": 2_000, "huge": 40_000}
    for name, size in sizes.items():
        tables.write_table(objects, name, pa.table({"text": ["x" * size] * 10}))
    cache = table_cache.TableCache(objects, room=2)
    kept = []
    for name in sizes:
        assert cache.table(name).num_rows == 10
        kept.append([other for other in sorted(sizes) if cache.find(other) is not None])
    assert kept == [
        ["small-1"],
        ["small-1", "small-2"],
        ["small-2", "small-3"],
        ["small-3", "wide-1"],
        # Both wide ones together are too large, and the huge one is alone.
        ["wide-2"],
        ["wide-2"],
    ]


def test_cache__makes_a_value_once_while_it_is_kept() -> None:
    cache: LruCache[str, str] = LruCache(2)
    calls: list[str] = []
    for name in ("a", "b", "a", "c", "a", "b"):
        assert cache.get(name, lambda name=name: calls.append(name) or name.upper()) == name.upper()  # type: ignore[misc]
    assert calls == ["a", "b", "c", "b"]
