"""The cache of export files: limits, eviction while a reader is active, deletion, failed writes."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from cocu.errors import UnavailableError
from cocu.exports.file_cache import FileCache
from cocu.exports.files import ExportedFile


def exported_file(identity: str, content: bytes = b"content") -> ExportedFile:
    return ExportedFile(identity, 1, None, identity, "text/plain", lambda: iter((content,)))


def test_evicted_files__are_still_read_to_the_end(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=20, max_files=3)
    first = cache.get_or_write("d", exported_file("first"))
    reading = first.pieces(0, first.size)
    assert cache.get_or_write("d", exported_file("first")) is first
    for name in ("second", "third"):
        cache.get_or_write("d", exported_file(name))
    assert cache.get("d", exported_file("first")) is None
    assert b"".join(reading) == b"content"
    large = cache.get_or_write("d", exported_file("large", bytes(100)))
    assert b"".join(large.pieces(90, 100)) == bytes(10)
    assert cache.get("d", exported_file("third")) is None
    assert not list(tmp_path.iterdir())


def test_forget__removes_the_files_of_one_dataset(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    gone = weakref.ref(cache.get_or_write("deleted", exported_file("a")))
    cache.get_or_write("other", exported_file("a"))
    cache.forget("deleted")
    assert gone() is None
    assert cache.get("deleted", exported_file("a")) is None
    assert cache.get("other", exported_file("a")) is not None


def test_write__that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Any:
        yield b"begun"
        raise UnavailableError("the objects do not answer")

    cache = FileCache(tmp_path)
    with pytest.raises(UnavailableError, match="do not answer"):
        cache.get_or_write("d", ExportedFile("a", 1, None, "a", "text/plain", failing))
    assert cache.get_or_write("d", exported_file("a")).size == len(b"content")
