"""Local copies of objects: fetched once, those used longest ago deleted first, never one that is in use."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cocu.storage.local_cache import KEPT_SECONDS, LocalCopies


@pytest.fixture
def copies(tmp_path: Path) -> LocalCopies:
    return LocalCopies(tmp_path / "copies", max_bytes=1_000)


def age(path: Path, seconds: float) -> None:
    """Make a copy look as if it was last used so many seconds ago."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def add(copies: LocalCopies, name: str, size: int = 400) -> Path:
    return copies.path(name, size=size, fetch=lambda: [b"x" * size])


def test_copy__is_fetched_once(copies: LocalCopies) -> None:
    fetched: list[str] = []

    def fetch() -> Iterator[bytes]:
        fetched.append("a")
        yield b"12"
        time.sleep(0.1)
        yield b"345"

    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: copies.path("a", size=5, fetch=fetch), range(6)))

    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == b"12345"
    assert fetched == ["a"]


def test_copy__is_fetched_once_by_several_processes(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from cocu.storage.local_cache import LocalCopies\n"
        "def fetch():\n"
        "    print('fetched', flush=True); time.sleep(0.5); yield b'12345'\n"
        "LocalCopies(Path(sys.argv[1])).path('a', size=5, fetch=fetch)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in started]

    assert [process.returncode for process in started] == [0] * 3
    assert sorted(outputs) == ["", "", "fetched\n"]


def test_eviction__takes_those_used_longest_ago(copies: LocalCopies) -> None:
    first, second = add(copies, "first"), add(copies, "second")
    age(first, 3 * KEPT_SECONDS)
    age(second, 2 * KEPT_SECONDS)
    assert add(copies, "first") == first  # used again
    third = add(copies, "third")

    assert (first.exists(), second.exists(), third.exists()) == (True, False, True)


def test_eviction__spares_what_was_just_handed_out(copies: LocalCopies) -> None:
    kept = [add(copies, name) for name in ("a", "b", "c", "d")]

    assert all(path.exists() for path in kept)
    for path in kept:
        age(path, 2 * KEPT_SECONDS)
    add(copies, "e")
    assert sum(path.exists() for path in kept) == 1


def test_eviction__leaves_an_open_file_readable(copies: LocalCopies) -> None:
    first = add(copies, "a")
    with first.open("rb") as opened:
        age(first, 2 * KEPT_SECONDS)
        add(copies, "b")
        add(copies, "c")
        assert not first.exists()
        assert len(opened.read()) == 400


def test_copy__that_was_cut_off_is_fetched_again(copies: LocalCopies) -> None:
    copy = add(copies, "a")
    os.truncate(copy, 7)

    assert add(copies, "a").stat().st_size == 400


def test_copy__of_another_size_than_it_should_have_is_none(copies: LocalCopies, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="3 of 5 bytes were received"):
        copies.path("a", size=5, fetch=lambda: [b"123"])

    assert not list(tmp_path.rglob("*.part"))
    assert copies.path("a", size=5, fetch=lambda: [b"12345"]).read_bytes() == b"12345"


def test_full_disk__makes_room_and_tries_once_more(copies: LocalCopies, tmp_path: Path) -> None:
    old = add(copies, "old", size=10)
    age(old, 2 * KEPT_SECONDS)
    attempts: list[bool] = []

    def fetch() -> Iterator[bytes]:
        attempts.append(old.exists())
        yield b"1234"
        if old.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield b"5"

    assert copies.path("new", size=5, fetch=fetch).read_bytes() == b"12345"
    assert attempts == [True, False]
    assert not list(tmp_path.rglob("*.part"))


def test_full_disk__without_anything_to_delete_is_an_error(copies: LocalCopies, tmp_path: Path) -> None:
    def fetch() -> Iterator[bytes]:
        yield b"1234"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        copies.path("new", size=5, fetch=fetch)
    assert not list(tmp_path.rglob("*.part"))


def test_opening__deletes_what_a_process_left_behind_a_day_ago(tmp_path: Path) -> None:
    young, old = tmp_path / "young.part", tmp_path / "old.part"
    for part in (young, old):
        part.write_bytes(b"half")
    age(old, 25 * 3600)
    LocalCopies(tmp_path)

    assert (young.exists(), old.exists()) == (True, False)
