from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cocu import machine
from cocu.errors import CocuError, ExhaustedError, IntegrityError, MachineError, NoRoomError


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, NoRoomError, "no space left"),
        (errno.EDQUOT, NoRoomError, "quota"),
        (errno.EFBIG, NoRoomError, "larger than a file may be"),
        (errno.EMFILE, ExhaustedError, "too many open files (this process may have"),
        (errno.ENFILE, ExhaustedError, "whole machine"),
        (errno.ENOMEM, ExhaustedError, "no memory"),
        (errno.EACCES, MachineError, "lacks the rights"),
        (errno.EPERM, MachineError, "lacks the rights"),
        (errno.EROFS, MachineError, "read-only"),
        (errno.EIO, MachineError, "disk fails"),
    ],
)
def test_find_machine_error__each_errno_is_one_line_that_says_what_to_do(
    number: int, kind: type[CocuError], words: str
) -> None:
    error = machine.find_machine_error(OSError(number, os.strerror(number), "/some/place"), "write a thing")

    assert type(error) is kind
    assert str(error).startswith("cannot write a thing: ")
    assert words in str(error)
    assert "/some/place" not in str(error)
    assert len(machine.describe(error).splitlines()) == 1


def test_find_machine_error__of_a_backend_that_only_cites_the_number() -> None:
    error = ValueError(
        "Generic LocalFileSystem error: Unable to open file: Too many open files (os error 24)"
    )

    assert isinstance(machine.find_machine_error(error), ExhaustedError)


@pytest.mark.parametrize(
    "error", [MemoryError(), pa.ArrowMemoryError("malloc"), RuntimeError("can't start new thread")]
)
def test_find_machine_error__of_memory_and_threads(error: Exception) -> None:
    assert isinstance(machine.find_machine_error(error), ExhaustedError)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, "no"), ValueError("bad"), RuntimeError("other"), IntegrityError("x")]
)
def test_find_machine_error__nothing_of_what_is_not_the_machine(error: Exception) -> None:
    assert machine.find_machine_error(error) is None
    machine.raise_machine_error(error)


def test_raise_machine_error__data_that_asks_for_absurd_memory_is_to_blame_itself() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, np.uint8)

    machine.raise_machine_error(caught.value)


def test_find_machine_error__nothing_of_sqlite_that_trying_does_not_explain(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(tmp_path / "catalog.sqlite")

    assert machine.find_machine_error(caught.value, file=tmp_path / "catalog.sqlite") is None


READERS = """
import os, resource, sys
import numpy as np
from pathlib import Path
from cocu.storage import arrays, tables
from cocu.storage.objects import ObjectStore
from cocu.catalog import Catalog
from cocu.vectors import VectorOptions, Vectors
from cocu.formats.folders import _member
from cocu.encoders.bundle import Bundle
import pyarrow as pa
folder = Path(sys.argv[1])
objects = ObjectStore.open(str(folder / "objects"))
arrays.write_embeddings(objects, "e", np.ones((200, 4)))
arrays.write_arrays(objects, "a", {"x": np.ones(4)})
tables.write_table(objects, "t", pa.table({"x": [1]}))
(folder / "file").write_bytes(b"x")
(folder / "bundle").mkdir()
(folder / "bundle" / "encoder.json").write_text("{}")
catalog = Catalog.open(f"sqlite:///{folder}/catalog.sqlite")
reads = {
    "embeddings": lambda: arrays.read_embeddings(objects, "e"),
    "arrays": lambda: arrays.read_arrays(objects, "a"),
    "table": lambda: tables.read_table(objects, "t"),
    "get": lambda: objects.get("e"),
    "put": lambda: objects.put("p", b"x"),
    "writing": lambda: arrays.write_arrays(objects, "a", {"x": np.ones(4)}),
    "catalog": lambda: Catalog.open(f"sqlite:///{folder}/catalog.sqlite"),
    "vectors": lambda: Vectors.open(str(folder / "vectors"), options=VectorOptions()),
    "member": lambda: list(_member("file", folder / "file", 1).pieces()),
    "bundle": lambda: Bundle.load(folder / "bundle"),
}
for read in (reads["get"], reads["put"], reads["table"]): read()
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError: pass
for name, read in reads.items():
    try: read(); outcome = "no error"
    except Exception as error: outcome = f"{type(error).__name__}: {error}"
    os.write(1, f"{name}: {' '.join(outcome.split())}\\n".encode())
os._exit(0)
"""


def test_no_descriptor_left__is_never_told_as_damaged_data(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", READERS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    outcomes = dict(line.split(": ", 1) for line in ended.stdout.splitlines())

    assert len(outcomes) == 10
    wrong = {
        name: outcome
        for name, outcome in outcomes.items()
        if not (outcome.startswith("ExhaustedError: ") and "too many open files" in outcome)
    }
    assert wrong == {}
