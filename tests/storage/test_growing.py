from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cocu.errors import IntegrityError, NotFoundError
from cocu.storage.growing import BusyError, GrowingFiles
from cocu.storage.objects import ObjectStore


@pytest.fixture(params=["file", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    url = "memory://" if request.param == "memory" else (tmp_path / "objects").as_uri()
    return ObjectStore.open(url, cache=tmp_path / "cache")


@pytest.fixture
def growing(objects: ObjectStore) -> GrowingFiles:
    made = GrowingFiles(objects)
    made.create("one")
    return made


def append(growing: GrowingFiles, offset: int, data: bytes) -> int:
    with growing.writing("one") as file:
        file.begin(offset)
        file.write(data)
        return file.sync()


def test_what_is_appended__becomes_the_object(objects: ObjectStore, growing: GrowingFiles) -> None:
    assert append(growing, 0, b"abc") == 3
    assert append(growing, 3, b"def") == 6
    assert objects.list() == []
    stored = growing.finish("one", "a/b")
    assert (stored.size, stored.sha256) == (6, hashlib.sha256(b"abcdef").hexdigest())
    assert objects.get("a/b") == b"abcdef"
    assert not growing.exists("one")


def test_what_lies_beyond_the_offset__does_not_count(objects: ObjectStore, growing: GrowingFiles) -> None:
    append(growing, 0, b"abcdef")
    append(growing, 2, b"X")
    growing.finish("one", "a")
    assert objects.get("a") == b"abX"


def test_less_than_was_noted__is_no_file_to_go_on_with(growing: GrowingFiles) -> None:
    append(growing, 0, b"abc")
    with growing.writing("one") as file, pytest.raises(IntegrityError):
        file.begin(4)


def test_a_second_writer__is_refused_until_the_first_has_ended(growing: GrowingFiles) -> None:
    with growing.writing("one"), pytest.raises(BusyError), growing.writing("one"):
        pass
    assert append(growing, 0, b"a") == 1


def test_a_writer_that_comes_when_it_is_complete__cannot_touch_the_object(
    objects: ObjectStore, growing: GrowingFiles
) -> None:
    append(growing, 0, b"abc")
    growing.finish("one", "a")
    with pytest.raises(NotFoundError), growing.writing("one"):
        pass
    with pytest.raises(NotFoundError):
        growing.finish("one", "b")
    assert objects.get("a") == b"abc"


def test_discarding__twice_is_as_good_as_once(growing: GrowingFiles) -> None:
    growing.discard("one")
    growing.discard("one")
    assert not growing.exists("one")


@pytest.mark.parametrize("token", ["../one", "", "a/b", "x" * 65, "a.b"])
def test_tokens_that_are_none__name_nothing(growing: GrowingFiles, token: str) -> None:
    with pytest.raises(NotFoundError):
        growing.create(token)
