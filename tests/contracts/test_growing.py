"""Files that grow into objects, of every form of the store."""

from __future__ import annotations

import hashlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.errors import IntegrityError, NotFoundError
from cocu.storage.growing import BusyError, GrowingFiles
from cocu.storage.objects import ObjectStore


@pytest.fixture
def growing(objects: ObjectStore) -> GrowingFiles:
    made = GrowingFiles(objects)
    made.create("one")
    return made


def append(growing: GrowingFiles, offset: int, data: bytes) -> int:
    with growing.writing("one") as file:
        file.begin(offset)
        file.write(data)
        noted = file.sync()
        file.noted()
        return noted


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


def test_finishing__leaves_nothing_behind(objects: ObjectStore, growing: GrowingFiles) -> None:
    append(growing, 0, b"abc")
    growing.finish("one", "a")
    growing.create("two")
    growing.discard("two")
    folder = objects.scratch / "growing"
    assert list(folder.iterdir()) == []
    assert not list(objects.scratch.glob("*.part"))


def test_what_was_hashed_on_the_way__is_not_read_again(
    objects: ObjectStore, growing: GrowingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(growing, 0, b"abc")
    append(growing, 3, b"def")
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("reads it again"))
    assert growing.finish("one", "a").sha256 == hashlib.sha256(b"abcdef").hexdigest()


@given(
    pieces=st.lists(
        st.tuples(
            st.booleans(), st.binary(max_size=5), st.sampled_from(["noted", "synced", "noted, then more"])
        ),
        max_size=8,
    )
)
def test_hash__is_that_of_the_file_whichever_process_wrote_and_noted_what(
    pieces: list[tuple[bool, bytes, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ObjectStore.open(folder)
        processes = GrowingFiles(store), GrowingFiles(store)
        processes[0].create("one")
        content = b""
        for other, data, how in pieces:
            with processes[other].writing("one") as file:
                file.begin(len(content))
                file.write(data)
                if how != "synced":
                    file.sync()
                    file.noted()
                    content += data
                if how == "noted, then more":
                    file.write(b"that does not count")
                    file.sync()
        with processes[0].writing("one") as file:
            file.begin(len(content))
        assert processes[0].finish("one", "a").sha256 == hashlib.sha256(content).hexdigest()
        assert store.get("a") == content


def test_discarding__twice_is_as_good_as_once(growing: GrowingFiles) -> None:
    growing.discard("one")
    growing.discard("one")
    assert not growing.exists("one")


@pytest.mark.parametrize("token", ["../one", "", "a/b", "x" * 65, "a.b"])
def test_tokens_that_are_none__name_nothing(growing: GrowingFiles, token: str) -> None:
    with pytest.raises(NotFoundError):
        growing.create(token)
