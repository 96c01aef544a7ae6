from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cocu.errors import IntegrityError, NotFoundError
from cocu.storage import arrays
from cocu.storage.objects import ObjectStore

PATH = "datasets/d/embeddings/e/s.npy"


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(f"file://{tmp_path}")


def test_rows__are_those_of_the_whole(objects: ObjectStore) -> None:
    written_ND = np.random.default_rng(0).normal(size=(37, 12)).astype(np.float16)
    arrays.write_embeddings(objects, PATH, written_ND)
    rows_R = np.array([36, 0, 5, 5])
    rows_RD = arrays.read_embedding_rows(objects, PATH, rows_R)
    assert np.array_equal(rows_RD, arrays.read_embeddings(objects, PATH)[rows_R])
    assert arrays.read_embedding_rows(objects, PATH, rows_R[:0]).shape == (0, 12)


def test_rows__of_a_replaced_file_are_the_new_ones(objects: ObjectStore) -> None:
    for value, width in ((1, 4), (2, 6)):
        arrays.write_embeddings(objects, PATH, np.full((3, width), value, np.float16))
        assert arrays.read_embedding_rows(objects, PATH, np.array([2])).tolist() == [[value] * width]


def test_rows__that_are_not_there_are_refused(objects: ObjectStore) -> None:
    arrays.write_embeddings(objects, PATH, np.ones((3, 4), np.float16))
    for row in (-1, 3):
        with pytest.raises(IndexError, match="3 rows"):
            arrays.read_embedding_rows(objects, PATH, np.array([row]))
    with pytest.raises(NotFoundError):
        arrays.read_embedding_rows(objects, "datasets/d/embeddings/e/t.npy", np.array([0]))


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: b"\0" * len(data), lambda data: b""])
def test_rows__of_damaged_files_are_no_rows(objects: ObjectStore, tmp_path: Path, damage: object) -> None:
    arrays.write_embeddings(objects, PATH, np.ones((3, 4), np.float16))
    file = tmp_path / PATH
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(IntegrityError):
        arrays.read_embedding_rows(objects, PATH, np.array([0]))
