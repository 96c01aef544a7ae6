from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cocu.errors import IntegrityError, NotFoundError
from cocu.neighbours.exact import top_neighbours
from cocu.storage import arrays, embedding_files
from cocu.storage.embedding_files import EmbeddingFile, EmbeddingFiles, EmbeddingPart
from cocu.storage.objects import ObjectStore

SHARDS, ROWS, DIM = 40, 3, 8


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    store = ObjectStore.open(str(tmp_path / "objects"))
    generator = np.random.default_rng(0)
    for number in range(SHARDS):
        rows_ND = generator.normal(size=(ROWS, DIM))
        rows_ND /= np.linalg.norm(rows_ND, axis=1, keepdims=True)
        arrays.write_embeddings(store, f"e/{number}", rows_ND)
    return store


def parts(*, without: int | None = None) -> list[EmbeddingPart]:
    return [EmbeddingPart(None if n == without else f"e/{n}", ROWS) for n in range(SHARDS)]


@pytest.fixture(params=["held", "mapped"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "mapped":
        monkeypatch.setattr(embedding_files, "_HELD_BYTES", 0)
    return str(request.param)


def test_of__searches_find_what_they_find_in_arrays(objects: ObjectStore, how: str) -> None:
    read = [arrays.read_embeddings(objects, f"e/{number}") for number in range(SHARDS)]
    lazy = EmbeddingFiles(objects, max_open=3).of(parts())
    expected = top_neighbours(read, range(SHARDS * ROWS), count=5)
    actual = top_neighbours(lazy, range(SHARDS * ROWS), count=5)

    assert isinstance(lazy[0], EmbeddingFile) == (how == "mapped")
    np.testing.assert_array_equal(actual.ids_QL, expected.ids_QL)
    np.testing.assert_array_equal(actual.similarities_QL, expected.similarities_QL)


def test_of__a_part_without_a_file_is_zeros(objects: ObjectStore, how: str) -> None:
    lazy = EmbeddingFiles(objects).of(parts(without=1))

    assert not np.asarray(lazy[1][:]).any()
    assert np.asarray(lazy[2][:]).any()


def test_of__keeps_few_files_open(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_files, "_HELD_BYTES", 0)
    before = len(os.listdir("/proc/self/fd"))
    lazy = EmbeddingFiles(objects, max_open=4).of(parts())
    for part in lazy:
        part[:].sum()

    assert len(os.listdir("/proc/self/fd")) - before <= 4


def test_of__what_is_written_anew_is_read_anew(objects: ObjectStore) -> None:
    first = EmbeddingFiles(objects).of(parts())[0][:].copy()
    arrays.write_embeddings(objects, "e/0", -first.astype(np.float32))
    again = [EmbeddingPart("e/0", ROWS, revision=1), *parts()[1:]]

    np.testing.assert_array_equal(EmbeddingFiles(objects).of(again)[0][:], -first)


def test_of__other_rows_than_expected_are_named(objects: ObjectStore, how: str) -> None:
    wrong = [*parts()[:-1], EmbeddingPart("e/0", ROWS + 1)]
    with pytest.raises(IntegrityError, match="e/0"):
        EmbeddingFiles(objects).of(wrong)[-1][:]


def test_of__a_missing_file_is_named(objects: ObjectStore, how: str) -> None:
    with pytest.raises(NotFoundError, match="e/none"):
        EmbeddingFiles(objects).of([*parts()[:-1], EmbeddingPart("e/none", ROWS)])[-1][:]


PROGRAM = """
import resource, sys
import numpy as np
from cocu.storage import arrays, embedding_files
from cocu.storage.objects import ObjectStore
embedding_files._HELD_BYTES = 0
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
objects = ObjectStore.open(sys.argv[1])
rows = np.eye(8)[:2]
for n in range(200): arrays.write_embeddings(objects, f"e/{n}", rows)
files = embedding_files.EmbeddingFiles(objects)
lazy = files.of([embedding_files.EmbeddingPart(f"e/{n}", 2) for n in range(200)])
part = arrays.Mentions(np.array([0, 1]), np.array([3], np.int32), np.array([0.5], np.float32))
for n in range(200): arrays.write_mentions(objects, f"m/{n}", part)
readers = [lambda n=n: arrays.read_mentions(objects, f"m/{n}") for n in range(200)]
mentions = arrays.concatenate_mentions(readers)
print(sum(int(part[:].sum()) for part in lazy), len(mentions.concepts_M), int(mentions.offsets_N1[-1]))
"""


def test_more_files_than_descriptors(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert ended.stdout.split() == ["400", "200", "200"]
