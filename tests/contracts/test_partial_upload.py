"""Partial uploads, which become objects, on every kind of store."""

from __future__ import annotations

import hashlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.errors import IntegrityError, NotFoundError
from cocu.storage.objects import ObjectStore
from cocu.storage.partial_upload import BusyError, PartialUploads


@pytest.fixture
def uploads(objects: ObjectStore) -> PartialUploads:
    uploads = PartialUploads(objects)
    uploads.create("one")
    return uploads


def append(uploads: PartialUploads, offset: int, data: bytes) -> int:
    with uploads.open("one") as file:
        file.truncate_to(offset)
        file.write(data)
        size = file.sync()
        file.checkpoint()
        return size


def test_what_is_appended__becomes_the_object(objects: ObjectStore, uploads: PartialUploads) -> None:
    assert append(uploads, 0, b"abc") == 3
    assert append(uploads, 3, b"def") == 6
    assert objects.list() == []
    stored = uploads.finish("one", "a/b")
    assert (stored.size, stored.sha256) == (6, hashlib.sha256(b"abcdef").hexdigest())
    assert objects.get("a/b") == b"abcdef"
    assert not uploads.exists("one")


def test_what_lies_beyond_the_offset__does_not_count(objects: ObjectStore, uploads: PartialUploads) -> None:
    append(uploads, 0, b"abcdef")
    append(uploads, 2, b"X")
    uploads.finish("one", "a")
    assert objects.get("a") == b"abX"


def test_a_file_shorter_than_the_stored_offset__is_refused(uploads: PartialUploads) -> None:
    append(uploads, 0, b"abc")
    with uploads.open("one") as file, pytest.raises(IntegrityError):
        file.truncate_to(4)


def test_a_second_writer__is_refused_until_the_first_has_ended(uploads: PartialUploads) -> None:
    with uploads.open("one"), pytest.raises(BusyError), uploads.open("one"):
        pass
    assert append(uploads, 0, b"a") == 1


def test_a_writer_that_comes_when_it_is_complete__cannot_touch_the_object(
    objects: ObjectStore, uploads: PartialUploads
) -> None:
    append(uploads, 0, b"abc")
    uploads.finish("one", "a")
    with pytest.raises(NotFoundError), uploads.open("one"):
        pass
    with pytest.raises(NotFoundError):
        uploads.finish("one", "b")
    assert objects.get("a") == b"abc"


def test_finishing__leaves_nothing_behind(objects: ObjectStore, uploads: PartialUploads) -> None:
    append(uploads, 0, b"abc")
    uploads.finish("one", "a")
    uploads.create("two")
    uploads.discard("two")
    folder = objects.scratch / "growing"
    assert list(folder.iterdir()) == []
    assert not list(objects.scratch.glob("*.part"))


def test_what_was_hashed_on_the_way__is_not_read_again(
    objects: ObjectStore, uploads: PartialUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(uploads, 0, b"abc")
    append(uploads, 3, b"def")
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("reads it again"))
    assert uploads.finish("one", "a").sha256 == hashlib.sha256(b"abcdef").hexdigest()


@given(
    pieces=st.lists(
        st.tuples(
            st.booleans(),
            st.binary(max_size=5),
            st.sampled_from(["checkpoint", "sync", "checkpoint, then more"]),
        ),
        max_size=8,
    )
)
def test_hash__is_that_of_the_file_whichever_process_wrote_it(
    pieces: list[tuple[bool, bytes, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ObjectStore.open(folder)
        processes = PartialUploads(store), PartialUploads(store)
        processes[0].create("one")
        content = b""
        for other, data, how in pieces:
            with processes[other].open("one") as file:
                file.truncate_to(len(content))
                file.write(data)
                if how != "sync":
                    file.sync()
                    file.checkpoint()
                    content += data
                if how == "checkpoint, then more":
                    file.write(b"that does not count")
                    file.sync()
        with processes[0].open("one") as file:
            file.truncate_to(len(content))
        assert processes[0].finish("one", "a").sha256 == hashlib.sha256(content).hexdigest()
        assert store.get("a") == content


def test_discarding__twice_is_allowed(uploads: PartialUploads) -> None:
    uploads.discard("one")
    uploads.discard("one")
    assert not uploads.exists("one")


@pytest.mark.parametrize("token", ["../one", "", "a/b", "x" * 65, "a.b"])
def test_invalid_tokens__are_refused(uploads: PartialUploads, token: str) -> None:
    with pytest.raises(NotFoundError):
        uploads.create(token)
