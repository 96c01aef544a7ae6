"""Files with checksums: every changed byte is noticed, and other programs can read the files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cocu.errors import IntegrityError
from cocu.storage import arrays, checksums, tables
from cocu.storage.content_hash import content_hash
from cocu.storage.objects import ObjectStore

TABLE = pa.table({"key": ["a", "b", "c"] * 5, "number": list(range(15))})
MATRIX_ND = np.arange(12, dtype=np.float16).reshape(3, 4)
ARRAYS = {"ids_N": np.arange(9), "scores_NL": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)}

Written = tuple[str, Callable[[ObjectStore, str], None], Callable[[ObjectStore, str], Any]]


def plain(named_arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[Any]]:
    return {name: array.tolist() for name, array in named_arrays.items()}


KINDS: dict[str, Written] = {
    "parquet": (
        "t.parquet",
        lambda objects, path: tables.write_table(objects, path, TABLE, row_group=8),
        lambda objects, path: tables.read_table(objects, path).to_pylist(),
    ),
    "parquet row": (
        "t.parquet",
        lambda objects, path: tables.write_table(objects, path, TABLE, row_group=8),
        lambda objects, path: tables.read_row(objects, path, 11),
    ),
    "npy": (
        "m.npy",
        lambda objects, path: arrays.write_embeddings(objects, path, MATRIX_ND),
        lambda objects, path: arrays.read_embeddings(objects, path).tolist(),
    ),
    "sealed bytes": (
        "t.jpg",
        lambda objects, path: objects.put(path, checksums.seal(b"a small file")),
        lambda objects, path: checksums.unseal(path, objects.get(path)),
    ),
    "arrow": (
        "a.arrow",
        lambda objects, path: arrays.write_arrays(objects, path, ARRAYS),
        lambda objects, path: plain(arrays.read_arrays(objects, path)),
    ),
}


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(str(tmp_path / "objects"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_noticed_wherever_it_is(objects: ObjectStore, kind: str) -> None:
    name, write, read = KINDS[kind]
    write(objects, name)
    content, right = objects.get(name), read(objects, name)
    refused = 0
    folder = objects.local_path(name).parent
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path = f"{position}-{name}"
        (folder / path).write_bytes(damaged)
        try:
            values = read(objects, path)
        except IntegrityError:
            refused += 1
        else:
            # The change is in the mark: the file counts as one without a checksum, and its data is right.
            assert values == right
    assert refused >= len(content) - len(checksums.MARK)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_off_is_refused(objects: ObjectStore, kind: str) -> None:
    name, write, read = KINDS[kind]
    write(objects, name)
    content = objects.get(name)
    for size in (0, 10, len(content) // 2, len(content) - checksums.SIZE - 8):
        objects.put(f"{size}/{name}", content[:size])
        with pytest.raises(IntegrityError, match="cocu catalog verify"):
            read(objects, f"{size}/{name}")


def test_other_programs_read_files_with_checksums(objects: ObjectStore) -> None:
    for name, write, _ in KINDS.values():
        write(objects, name)
    assert pq.read_table(objects.local_path("t.parquet")).equals(TABLE)
    assert (
        pq.ParquetFile(objects.local_path("t.parquet"), page_checksum_verification=True).read().num_rows == 15
    )
    for mode in (None, "r"):
        assert np.load(objects.local_path("m.npy"), mmap_mode=mode).tolist() == MATRIX_ND.tolist()
    opened = pa.ipc.open_file(objects.get("a.arrow"))
    assert opened.get_batch(0).column("ids_N")[0].as_py() == list(range(9))


def test_files_of_an_earlier_version_are_read(objects: ObjectStore) -> None:
    with objects.writing("t.parquet") as file:
        pq.write_table(TABLE, file)
    with objects.writing("m.npy") as file:
        np.save(file, MATRIX_ND)
    assert tables.read_table(objects, "t.parquet").equals(TABLE)
    assert arrays.read_embeddings(objects, "m.npy").tolist() == MATRIX_ND.tolist()
    assert checksums.verify(objects, "m.npy", checksums.PLAIN)[1] is False


def test_without_a_checksum_the_hash_of_the_content_is_compared(objects: ObjectStore) -> None:
    for name, numbers in (("right.parquet", range(15)), ("other.parquet", range(1, 16))):
        with objects.writing(name) as file:
            pq.write_table(TABLE.set_column(1, "number", [list(numbers)]), file)
    expected = content_hash(TABLE)
    assert tables.read_table(objects, "right.parquet", columns=["key"], content_hash=expected).num_rows == 15
    for read in (tables.read_table, tables.read_layout):
        with pytest.raises(IntegrityError, match=r"other\.parquet is damaged"):
            read(objects, "other.parquet", content_hash=expected)


def test_a_file_is_checked_once_and_again_when_it_was_written_to(objects: ObjectStore) -> None:
    arrays.write_embeddings(objects, "m.npy", MATRIX_ND)
    arrays.read_embeddings(objects, "m.npy")
    file = objects.local_path("m.npy")
    status = file.stat()
    with file.open("r+b") as opened:
        opened.seek(130)
        opened.write(b"\xff")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    arrays.read_embeddings(objects, "m.npy")
    os.utime(file)
    with pytest.raises(IntegrityError, match=r"m\.npy is damaged"):
        arrays.read_embeddings(objects, "m.npy")


def test_a_damaged_copy_of_a_remote_object_is_fetched_again(tmp_path: Path) -> None:
    objects = ObjectStore.open("memory://", cache=tmp_path / "cache")
    arrays.write_embeddings(objects, "m.npy", MATRIX_ND)
    copy = objects.local_path("m.npy")
    content = copy.read_bytes()
    copy.write_bytes(content[:-1] + b"?")
    assert arrays.read_embeddings(objects, "m.npy").tolist() == MATRIX_ND.tolist()
    objects.put("m.npy", content[:-1] + b"?")
    with pytest.raises(IntegrityError, match=r"m\.npy is damaged"):
        arrays.read_embeddings(objects, "m.npy")
