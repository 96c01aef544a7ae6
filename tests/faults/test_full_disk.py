"""A full disk: every writer reports it, servers wait and go on, a command ends with one line."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from tests.local_platform import running, tar_of_samples

from cocu import machine
from cocu.catalog import Catalog, datasets
from cocu.cli.log_file import LogFile
from cocu.curation.archives import Mentions
from cocu.errors import NoRoomError
from cocu.pipeline import lease
from cocu.storage import arrays, tables
from cocu.storage.objects import ObjectStore
from cocu.storage.partial_upload import PartialUploads
from cocu.vectors import VectorOptions, Vectors

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        # No failure where servers are required either: nothing could be installed.
        pytest.skip(
            "mounting a small file system needs root; that of COCU_TEST_SERVERS=required is no server, so "
            "tests of a full disk run only where root runs them"
        )
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill the disk, except for this number of bytes."""
    filling = folder / "filling"
    with filling.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - leave))
    return filling


def append(objects: ObjectStore) -> None:
    files = PartialUploads(objects)
    with files.open("token") as file:
        file.truncate_to(0)
        file.write(b"x" * 100)
        file.sync()


def aside(folder: Path) -> None:
    with machine.temporary_file(folder) as file:
        file.write(b"x" * 100)
        file.seek(0)


def insert(catalog: Catalog) -> None:
    for number in range(2_000):
        datasets.create(catalog, tenant="t", name=f"{number}-{'x' * 200}")


def upsert(vectors: Vectors) -> None:
    for first in range(0, 5_000, 500):
        vectors.upsert_samples(
            tenant="t",
            dataset="d",
            encoder="e" * 16,
            keys=[f"{first + number}" for number in range(500)],
            first_row=first,
            embeddings_ND=np.ones((500, 64), np.float16),
        )


WRITERS: dict[str, Callable[[Path, ObjectStore], object]] = {
    "put, small": lambda folder, objects: objects.put("a", b"y" * 100),
    "put, large": lambda folder, objects: objects.put("a", b"y" * 3_000_000),
    "writing, small": lambda folder, objects: arrays.write_arrays(objects, "a", {"a": np.zeros(10)}),
    "arrays, large": lambda folder, objects: arrays.write_arrays(objects, "a", {"a": np.zeros(10**6)}),
    "embeddings": lambda folder, objects: arrays.write_embeddings(objects, "a", np.zeros((1000, 192))),
    "table": lambda folder, objects: tables.write_table(objects, "a", pa.table({"a": list(range(10**5))})),
    "mentions": lambda folder, objects: arrays.write_mentions(
        objects, "a", Mentions(np.arange(1001), np.zeros(1000, np.int32), np.zeros(1000, np.float32))
    ),
    "partial upload": lambda folder, objects: append(objects),
    "temporary file": lambda folder, objects: aside(folder),
}


@pytest.mark.parametrize("name", WRITERS)
def test_writers_of_files__say_that_there_is_no_room(small_disk: Path, name: str) -> None:
    objects = ObjectStore.open(str(small_disk / "objects"))
    objects.put("a", b"before")
    PartialUploads(objects).create("token")
    fill(small_disk)
    with pytest.raises(NoRoomError, match="no space left"):
        WRITERS[name](small_disk, objects)

    assert objects.get("a") == b"before"
    assert not list(small_disk.rglob("*.part"))


def test_catalog__says_that_there_is_no_room_and_goes_on_when_there_is(small_disk: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{small_disk}/catalog.sqlite")
    filling = fill(small_disk)
    with pytest.raises(NoRoomError, match="no space left"):
        insert(catalog)
    filling.unlink()
    datasets.create(catalog, tenant="t", name="after")
    catalog.close()

    connection = sqlite3.connect(small_disk / "catalog.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_catalog__at_a_start_without_room(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/catalog.sqlite"
    Catalog.open(url).close()
    fill(small_disk)
    with pytest.raises(NoRoomError, match="no space left"):
        Catalog.open(url)
    with pytest.raises(NoRoomError, match="no space left"):
        Catalog.open(f"sqlite:///{small_disk}/new/catalog.sqlite")


def test_catalog__on_a_disk_that_may_not_be_written(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/catalog.sqlite"
    Catalog.open(url).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(machine.MachineError, match="read-only"):
        Catalog.open(url)


def test_vectors__say_that_there_is_no_room(small_disk: Path) -> None:
    vectors = Vectors.open(str(small_disk / "vectors"), options=VectorOptions())
    vectors.ensure_collection(encoder="e" * 16, dimensions=64)
    filling = fill(small_disk)
    with pytest.raises(NoRoomError, match="no space left"):
        upsert(vectors)
    # Nothing is taken for damaged: with room, it goes on.
    filling.unlink()
    resize(small_disk, "256m")
    upsert(vectors)
    assert vectors.lost == 0
    vectors.close()


def test_log__survives_and_says_once_what_it_lacks(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(small_disk / "cocu.log")
    logger = logging.Logger("full")
    logger.addHandler(handler)
    logger.info("before")
    filling = fill(small_disk)
    for number in range(500):
        logger.info("line %d %s", number, "x" * 100)
    filling.unlink()
    logger.info("after")
    handler.close()
    said = capsys.readouterr().err
    text = (small_disk / "cocu.log").read_text()

    assert said.count("\n") == 1
    assert "cannot be written: No space left on device" in said
    assert text.startswith("before\n")
    assert "after\n" in text
    assert "lines before this one could not be written" in text


def ask(server: Any, path: str) -> Any:
    return httpx.get(f"{server.url}{path}", timeout=30).json()


def until(check: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_platform__waits_for_room_says_so_once_and_goes_on(
    small_disk: Path,
    tiny_encoders: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """More attempts than the allowed failures, with catalog, objects and vectors on the disk."""
    monkeypatch.setattr(lease, "ROOM_SECONDS", 0.05)
    resize(small_disk, "16m")
    content = tar_of_samples({f"{number:03d}": "a dog on a bench" for number in range(40)})
    settings = {"retry_seconds": 0.0, "sweep_seconds": 0.05, "resend_seconds": 0.05, "max_outages": 2}
    caplog.set_level(logging.INFO, "cocu.storage.disk_space")
    with running(small_disk / "data", tiny_encoders, **settings) as server:
        dataset = httpx.post(f"{server.url}/v1/datasets", json={"name": "set"}).json()["id"]
        url = f"{server.url}/v1/datasets/{dataset}/uploads"
        assert httpx.put(f"{url}/a.tar", content=content, timeout=30).status_code == 201
        until(lambda: ask(server, f"/v1/datasets/{dataset}")["samples"] == 40)
        filling = fill(small_disk, leave=64 << 10)
        created = httpx.post(f"{server.url}/v1/datasets/{dataset}/curations", json={}, timeout=30)
        refused = httpx.put(f"{url}/b.tar", content=os.urandom(MEBIBYTE), timeout=30)
        time.sleep(2)
        meanwhile = ask(server, f"/v1/datasets/{dataset}")
        filling.unlink()
        if created.status_code == 503:
            created = httpx.post(f"{server.url}/v1/datasets/{dataset}/curations", json={}, timeout=30)
        curation = created.json()["id"]
        until(lambda: ask(server, f"/v1/curations/{curation}")["state"] not in ("queued", "running"), 240)
        ended = ask(server, f"/v1/curations/{curation}")
    said = [record.message for record in caplog.records if "no space left" in record.message]

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "no space left" in refused.json()["detail"]
    assert str(small_disk) not in refused.text
    assert meanwhile["samples"] == 40
    assert (ended["state"], ended.get("detail")) == ("completed", None)
    assert len(said) == 1


@pytest.mark.slow
def test_curate_in_the_foreground__ends_with_a_line_and_goes_on_when_it_is_run_again(
    small_disk: Path, tmp_path: Path, tiny_encoders: Path
) -> None:
    resize(small_disk, "2m")
    samples = tmp_path / "set.tar"
    samples.write_bytes(tar_of_samples({f"{number:03d}": f"a dog {'x' * 5000}" for number in range(300)}))
    command = [sys.executable, "-m", "cocu", "curate", str(samples), "--json"]
    command += ["--encoder", str(tiny_encoders / "tiny"), "--data", str(small_disk / "data")]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)

    ended = run()
    lines = ended.stderr.strip().splitlines()
    assert ended.returncode == 1
    assert "no space left on" in lines[-1]
    assert lines[-1].startswith("error: ")
    assert "run the same command again" in lines[-1]
    assert "Logging error" not in ended.stderr
    assert len(lines) < 20

    resize(small_disk, "64m")
    again = run()
    assert again.returncode == 0, again.stderr
    assert '"state": "completed"' in again.stdout
