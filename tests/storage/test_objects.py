"""Objects in files. What all stores have in common: tests/contracts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cocu.errors import InvalidInputError, UnavailableError
from cocu.storage.objects import ObjectStore


def test_a_killed_writer_leaves_no_half_object(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    program = (
        "import sys; from cocu.storage.objects import ObjectStore\n"
        f"objects = ObjectStore.open({str(folder)!r})\n"
        "def endless():\n"
        "    while True:\n"
        "        yield b'x' * 1_000_000; print('chunk', flush=True)\n"
        "objects.put('whole', b'y'); objects.put_chunks('half', endless(), max_bytes=10**9)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = list(folder.rglob("*.part"))
    assert left, "the writer was not killed in the middle"
    objects = ObjectStore.open(str(folder))
    assert objects.list() == ["whole"]
    assert list(folder.rglob("*.part")) == left, "a young temporary file may belong to a living writer"
    yesterday = time.time() - 25 * 3600
    os.utime(left[0], (yesterday, yesterday))
    ObjectStore.open(str(folder))
    assert not list(folder.rglob("*.part"))


def test_a_name_below_another_object_is_unavailable_not_a_crash(tmp_path: Path) -> None:
    objects = ObjectStore.open(str(tmp_path))
    objects.put("a", b"")
    with pytest.raises(UnavailableError):
        objects.put("a/b", b"")


@pytest.mark.parametrize("url", ["file://host/share", "gopher://x", "s3:///"])
def test_unusable_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        ObjectStore.open(url)


def test_the_folder_of_a_file_store_may_hold_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "with space and ü"
    ObjectStore.open(folder.as_uri()).put("a", b"1")
    assert (folder / "a").read_bytes() == b"1"
    assert ObjectStore.open(str(folder)).get("a") == b"1"
