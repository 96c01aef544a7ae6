"""Temporary files go when their process has died, and never while they are written."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cocu.storage import durable
from cocu.storage.objects import ObjectStore
from cocu.storage.partial_upload import PartialUploads

KILLED = """
import os, signal, sys
from pathlib import Path
from cocu.storage import durable
from cocu.storage.objects import ObjectStore
folder = Path(sys.argv[1])
objects = ObjectStore.open(str(folder))
with objects.writing("a/b") as file, durable.scratch_folder(folder, "reading-") as scratch:
    file.write(b"half"); file.flush()
    (scratch / "inside").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part"))


def test_what_a_killed_process_left_goes_while_others_run(tmp_path: Path) -> None:
    objects = ObjectStore.open(str(tmp_path))
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=60)
    file, folder = parts(tmp_path)
    assert objects.delete_abandoned() + durable.delete_abandoned(tmp_path) == 0
    for left in (file, folder):
        age(left, 10)
    assert objects.delete_abandoned() == durable.delete_abandoned(tmp_path) == 1
    assert parts(tmp_path) == []
    assert objects.list() == []


@pytest.mark.parametrize("days", [1, 3])
def test_what_is_being_written_stays_however_long_that_takes(tmp_path: Path, days: int) -> None:
    objects, other = ObjectStore.open(str(tmp_path)), ObjectStore.open(str(tmp_path))
    with objects.writing("a/b") as file, durable.scratch_folder(tmp_path, "reading-") as scratch:
        file.write(b"first ")
        for part in parts(tmp_path):
            age(part, days * 24 * 3600.0)
        assert other.delete_abandoned() + durable.delete_abandoned(tmp_path) == 0
        assert scratch.is_dir()
        file.write(b"second")
    assert other.get("a/b") == b"first second"
    assert parts(tmp_path) == []


def test_what_a_stream_writes_stays_too(tmp_path: Path) -> None:
    objects = ObjectStore.open(str(tmp_path))

    def chunks() -> list[bytes]:
        for part in parts(tmp_path):
            age(part, 100_000)
        assert len(parts(tmp_path)) == 1
        assert objects.delete_abandoned() == 0
        return [b"all"]

    objects.put_chunks("a", (piece for _ in range(1) for piece in chunks()))
    assert objects.get("a") == b"all"


def test_copies_that_were_not_completed_go(tmp_path: Path) -> None:
    objects = ObjectStore.open("memory://", cache=tmp_path)
    left = tmp_path / "copies" / "0.part"
    left.write_bytes(b"half")
    age(left, 10)
    assert objects.delete_abandoned() == 1
    assert not left.exists()


def test_stale_partial_uploads_are_found(tmp_path: Path) -> None:
    uploads = PartialUploads(ObjectStore.open(str(tmp_path)))
    for token in ("old", "young"):
        uploads.create(token)
    age(next(tmp_path.rglob("old")), 100)
    assert uploads.find_stale(after_seconds=50) == ["old"]
