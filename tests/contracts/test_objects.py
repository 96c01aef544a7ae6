"""Objects: complete or not at all, in files, in memory and in a bucket."""

from __future__ import annotations

import asyncio
import hashlib
import os
import urllib.request
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cocu.errors import IntegrityError, InvalidInputError, LimitExceededError, NotFoundError, UnavailableError
from cocu.storage.objects import ObjectStore


def test_what_is_put_is_got_whole_in_ranges_and_in_pieces(objects: ObjectStore) -> None:
    data = os.urandom(3_000_001)
    stored = objects.put("a/b.bin", data)
    assert (stored.path, stored.size, stored.sha256) == (
        "a/b.bin",
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    assert objects.get("a/b.bin") == data
    assert objects.get_range("a/b.bin", 1_000, 2_000) == data[1_000:3_000]
    assert objects.get_range("a/b.bin", len(data), 0) == b""
    assert b"".join(objects.chunks("a/b.bin")) == data
    assert objects.size("a/b.bin") == len(data)
    assert objects.local_path("a/b.bin").read_bytes() == data


def test_putting_again_replaces(objects: ObjectStore) -> None:
    objects.put("a", b"first, longer")
    assert objects.local_path("a").read_bytes() == b"first, longer"
    objects.put("a", b"second")
    assert objects.get("a") == b"second"
    assert objects.local_path("a").read_bytes() == b"second"


def test_an_empty_object_is_an_object(objects: ObjectStore) -> None:
    assert objects.put("empty", b"").size == 0
    assert objects.exists("empty")
    assert objects.get("empty") == b""
    assert b"".join(objects.chunks("empty")) == b""


def test_a_file_is_put_from_its_path_or_its_position(objects: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"0123456789")
    objects.put_file("whole", file)
    with file.open("rb") as opened:
        opened.seek(4)
        objects.put_file("rest", opened)
    assert (objects.get("whole"), objects.get("rest")) == (b"0123456789", b"456789")


def test_missing_objects_are_not_found(objects: ObjectStore) -> None:
    assert not objects.exists("no/such")
    objects.delete("no/such")
    assert objects.delete_prefix("no") == 0
    for call in (
        lambda: objects.get("no/such"),
        lambda: objects.get_range("no/such", 0, 1),
        lambda: objects.chunks("no/such"),
        lambda: objects.size("no/such"),
        lambda: objects.local_path("no/such"),
    ):
        with pytest.raises(NotFoundError, match="no/such"):
            call()


@pytest.mark.parametrize(("offset", "size"), [(0, 11), (9, 2), (10, 1), (500, 1)])
def test_a_range_beyond_the_end_is_an_integrity_error(objects: ObjectStore, offset: int, size: int) -> None:
    objects.put("short", b"0123456789")
    with pytest.raises(IntegrityError, match="short"):
        objects.get_range("short", offset, size)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/abs",
        "../up",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        ".hidden",
        "a/.incoming/x",
        "nul\0",
        "a#1",
        "a b",
        "ä",
    ],
)
def test_unsafe_paths_are_refused(objects: ObjectStore, path: str) -> None:
    with pytest.raises(InvalidInputError, match="path"):
        objects.put(path, b"")
    with pytest.raises(InvalidInputError, match="path"):
        objects.get(path)
    with pytest.raises(InvalidInputError, match="path"):
        objects.local_path(path)
    if path:
        with pytest.raises(InvalidInputError, match="path"):
            objects.delete_prefix(path.rstrip("/") + "/..")


def test_a_prefix_is_a_folder_not_the_start_of_a_name(objects: ObjectStore) -> None:
    for path in ("d/1/a", "d/1/b/c", "d/10/a", "e"):
        objects.put(path, b"x")
    assert objects.list("d/1") == ["d/1/a", "d/1/b/c"]
    assert objects.list() == ["d/1/a", "d/1/b/c", "d/10/a", "e"]
    assert objects.delete_prefix("d/1") == 2
    assert objects.list() == ["d/10/a", "e"]


def test_a_stream_beyond_the_limit_leaves_what_was_there(objects: ObjectStore, tmp_path: Path) -> None:
    objects.put("a", b"before")
    with pytest.raises(LimitExceededError, match="9 bytes"):
        objects.put_chunks("a", (b"12345" for _ in range(2)), max_bytes=9)
    assert objects.get("a") == b"before"
    assert not list(tmp_path.rglob("*.part"))


def test_a_wrong_checksum_leaves_what_was_there(objects: ObjectStore) -> None:
    with pytest.raises(InvalidInputError, match="SHA-256"):
        objects.put_chunks("a", [b"12345"], sha256="0" * 64)
    assert not objects.exists("a")
    objects.put_chunks("a", [b"123", b"45"], sha256=hashlib.sha256(b"12345").hexdigest().upper())
    assert objects.get("a") == b"12345"


def test_a_stream_that_fails_leaves_nothing(objects: ObjectStore, tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * 6_000_000
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        objects.put_chunks("a", failing())
    assert objects.list() == []
    assert not list(tmp_path.rglob("*.part"))


def test_an_asynchronous_stream(objects: ObjectStore, tmp_path: Path) -> None:
    data = os.urandom(9_000_000)

    async def stream(fail: bool = False) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_536):
            yield data[start : start + 65_536]
        if fail:
            raise ConnectionResetError("the client went away")

    stored = asyncio.run(objects.put_stream("a", stream(), max_bytes=len(data)))
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert objects.get("a") == data
    with pytest.raises(LimitExceededError):
        asyncio.run(objects.put_stream("b", stream(), max_bytes=len(data) - 1))
    with pytest.raises(ConnectionResetError):
        asyncio.run(objects.put_stream("b", stream(fail=True)))
    assert objects.list() == ["a"]
    assert not list(tmp_path.rglob("*.part"))


def test_writing_shows_the_object_only_at_the_end(objects: ObjectStore) -> None:
    with objects.writing("a/b") as file:
        file.write(b"0123")
        file.seek(0)
        file.write(b"x")
        assert not objects.exists("a/b")
    assert objects.get("a/b") == b"x123"
    with pytest.raises(FileNotFoundError, match="the caller's own"), objects.writing("a/b") as file:
        raise FileNotFoundError("the caller's own")
    assert objects.get("a/b") == b"x123"


def test_many_writers_of_one_name_leave_one_whole_object(objects: ObjectStore) -> None:
    contents = [bytes([number]) * 200_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: [objects.put("a", data) for _ in range(5)], contents))
    assert objects.get("a") in contents
    assert objects.list() == ["a"]


def test_folders_may_vanish_while_others_write(objects: ObjectStore) -> None:
    def write(number: int) -> None:
        for turn in range(20):
            objects.put(f"d/{number}/{turn}", b"x")

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        while not all(writer.done() for writer in writers):
            objects.delete_prefix("d")
        for writer in writers:
            writer.result()


def read_into(objects: ObjectStore, path: str, ranges: list[tuple[int, int]]) -> list[bytes]:
    targets = [bytearray(size) for _, size in ranges]
    objects.read_into(
        path, [(offset, memoryview(target)) for (offset, _), target in zip(ranges, targets, strict=True)]
    )
    return [bytes(target) for target in targets]


def test_read_into__fills_every_view(objects: ObjectStore) -> None:
    data = bytes(range(256)) * 4000
    objects.put("a/b", data)
    ranges = [(900_000, 1000), (0, 1), (5, 300), (100, 300), (1_023_999, 1)]
    assert read_into(objects, "a/b", ranges) == [data[offset : offset + size] for offset, size in ranges]
    assert read_into(objects, "a/b", []) == []


def test_read_into__beyond_the_end_is_an_integrity_error(objects: ObjectStore) -> None:
    objects.put("a/b", b"0123456789")
    for ranges in ([(8, 3)], [(0, 1), (20, 1)], [(10, 1)]):
        with pytest.raises(IntegrityError):
            read_into(objects, "a/b", ranges)
    with pytest.raises(NotFoundError):
        read_into(objects, "a/c", [(0, 1)])
    for ranges in ([(0, 0)], [(-1, 1)]):
        with pytest.raises(ValueError, match="negative"):
            read_into(objects, "a/b", ranges)


def test_a_large_object_goes_in_parts_and_comes_whole(objects: ObjectStore, tmp_path: Path) -> None:
    data = os.urandom(20_000_003)
    objects.put_chunks("large", (data[start : start + 1_000_000] for start in range(0, len(data), 1_000_000)))

    assert b"".join(objects.chunks("large")) == data
    assert objects.local_path("large").read_bytes() == data
    assert objects.get_range("large", len(data) - 5, 5) == data[-5:]
    assert not list(tmp_path.rglob("*.part"))


def test_pieces_of_an_object_that_is_replaced_meanwhile_are_of_one_version(objects: ObjectStore) -> None:
    first, second = (bytes([number]) * 20_000_000 for number in (1, 2))
    objects.put("a", first)
    pieces = objects.chunks("a")
    begun = next(pieces)
    objects.put("a", second)
    try:
        rest = b"".join(pieces)
    except UnavailableError:  # to be read again: this download has failed
        return
    assert begun + rest == first


def test_a_signed_address_is_readable_by_anybody_for_a_while(objects: ObjectStore) -> None:
    objects.put("a/b", b"0123456789")
    address = objects.signed_url("a/b", seconds=60)
    if address is None:  # files and memory have no addresses
        return
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"0123456789"
    assert "Expires=60" in address
    with pytest.raises(InvalidInputError):
        objects.signed_url("../a", seconds=60)


@pytest.mark.slow
def test_a_thousand_objects_are_deleted_with_their_prefix(objects: ObjectStore) -> None:
    for number in range(1_005):
        objects.put(f"many/{number}", b"")
    objects.put("many2", b"")

    assert objects.delete_prefix("many") == 1_005
    assert objects.list() == ["many2"]
