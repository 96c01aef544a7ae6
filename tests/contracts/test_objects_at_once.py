"""Parts of several objects at the same time, in files, in memory and in a bucket: how batches are read."""

from __future__ import annotations

import os
import threading

import pytest

from cocu.errors import CocuError, IntegrityError, NotFoundError
from cocu.storage import objects as module
from cocu.storage.objects import ObjectStore
from cocu.storage.ranges import RangeReads

SIZES = {f"shards/{number}.tar": 400_000 + number for number in range(5)}


def reads_of(data: dict[str, bytes]) -> tuple[list[RangeReads], list[tuple[bytes, bytearray]]]:
    """Near and far parts of every object, and what each must become."""
    reads, expected = [], []
    for path, content in data.items():
        ranges = [(0, 1), (3, 500), (350_000, 20_000), (len(content) - 7, 7)]
        targets = [(offset, bytearray(size)) for offset, size in ranges]
        reads.append(
            RangeReads(path, len(content), [(offset, memoryview(target)) for offset, target in targets])
        )
        expected += [(content[offset : offset + len(target)], target) for offset, target in targets]
    return reads, expected


def test_read_all_into__fills_every_view_and_does_not_ask_for_sizes(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {path: os.urandom(size) for path, size in SIZES.items()}
    for path, content in data.items():
        objects.put(path, content)
    reads, expected = reads_of(data)
    monkeypatch.setattr(ObjectStore, "size", lambda *_: pytest.fail("its size was given"))
    objects.read_all_into(reads)
    assert all(bytes(target) == part for part, target in expected)
    objects.read_all_into([])


def test_read_all_into__says_what_one_of_them_failed_by(objects: ObjectStore) -> None:
    objects.put("a", b"0123456789")
    here = RangeReads("a", 10, [(0, memoryview(bytearray(10)))])
    with pytest.raises(NotFoundError):
        objects.read_all_into([here, RangeReads("b", 10, [(0, memoryview(bytearray(10)))])])
    with pytest.raises(IntegrityError):
        objects.read_all_into([here, RangeReads("a", 10, [(8, memoryview(bytearray(3)))])])


def test_read_all_into__an_object_that_became_shorter_is_an_error(objects: ObjectStore) -> None:
    objects.put("a", b"0123456789")
    with pytest.raises(CocuError):
        objects.read_all_into([RangeReads("a", 20, [(8, memoryview(bytearray(5)))])] * 2)


def test_read_all_into__of_a_bucket_reads_objects_at_the_same_time(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = ObjectStore.open(bucket)
    data = {path: os.urandom(size) for path, size in SIZES.items()}
    for path, content in data.items():
        objects.put(path, content)
    together = threading.Barrier(len(data), timeout=30)
    read_object_into = module.read_object_into

    def meeting(*arguments: object) -> None:
        together.wait()
        read_object_into(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_object_into", meeting)
    reads, expected = reads_of(data)
    objects.read_all_into(reads)
    assert all(bytes(target) == part for part, target in expected)
