"""Tables of samples and archives, and the hash of their values."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cocu.curation.archives import NO_CLUSTER, NO_NEIGHBOUR, OWN_CAPTION, Archives
from cocu.errors import IntegrityError, NotFoundError
from cocu.storage.content_hash import combined_hash, content_hash
from cocu.storage.objects import ObjectStore
from cocu.storage.tables import (
    ARCHIVES,
    SAMPLES,
    archives_of,
    archives_table,
    read_row,
    read_table,
    samples_table,
    write_table,
)

NAMES = ("cat", "dog", "fire hydrant", "naïve art", "zebra")
NASTY = [
    "",
    "=1+1",
    "a\nb\tc\r\n",
    "<script>",
    "\ufffd 🐕 \u202e",
    "x" * 65_536,
    "שלום",
    "\x01\x7f",
    "'; DROP TABLE",
]


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(str(tmp_path / "objects"))


def archives() -> Archives:
    """Three images: three concepts, none, one."""
    return Archives(
        offsets_B1=np.array([0, 3, 3, 4], np.int64),
        concepts_C=np.array([1, 4, 0, 2], np.int32),
        scores_C=np.array([0.9, 0.5, -0.25, 1.5], np.float32),
        global_C=np.array([0.1, 0.2, 0.3, 0.4], np.float32),
        local_C=np.array([0.0, -1.0, 2.0, 3.5], np.float32),
        clusters_C=np.array([0, 1, 0, NO_CLUSTER], np.int32),
        origin_offsets_C1=np.array([0, 2, 3, 4, 6], np.int64),
        origins_O=np.array([OWN_CAPTION, 0, 1, 0, 0, 1], np.int32),
    )


def table(**changes: object) -> pa.Table:
    arguments: dict[str, object] = {
        "keys": ["a", "b\n", "ü"],
        "names": NAMES,
        "neighbours_BL": np.array([[7, 2], [3, NO_NEIGHBOUR], [0, 1]]),
        "neighbour_similarities_BL": np.array([[0.5, 0.25], [0.125, 0], [1, 0.5]], np.float16),
    }
    return archives_table(archives(), **(arguments | changes))  # type: ignore[arg-type]


def random_archives(
    count: int, concepts: int, vocabulary: int = 500
) -> tuple[Archives, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    total = count * concepts
    origins = random.integers(1, 4, total)
    archives = Archives(
        offsets_B1=np.arange(0, total + 1, concepts),
        concepts_C=random.integers(0, vocabulary, total, dtype=np.int32),
        scores_C=random.normal(size=total).astype(np.float32),
        global_C=random.normal(size=total).astype(np.float32),
        local_C=random.normal(size=total).astype(np.float32),
        clusters_C=random.integers(0, 8, total, dtype=np.int32),
        origin_offsets_C1=np.concatenate([[0], np.cumsum(origins)]),
        origins_O=random.integers(-1, 16, origins.sum(), dtype=np.int32),
    )
    return archives, random.integers(0, count, (count, 16)), random.random((count, 16), np.float32)


def test_samples_survive_with_nasty_strings(objects: ObjectStore) -> None:
    rows = [
        SimpleNamespace(
            key=f"k{n}",
            caption=caption,
            offset=n << 40,
            size=n,
            width=1,
            height=60_000,
            sha256=hashlib.sha256(caption.encode()).digest(),
        )
        for n, caption in enumerate(NASTY)
    ]
    write_table(objects, "samples/1.parquet", samples_table(rows))
    read = read_table(objects, "samples/1.parquet")
    assert read.schema.equals(SAMPLES)
    assert read.to_pylist() == [vars(row) for row in rows]
    assert read_table(objects, "samples/1.parquet", columns=["key"]).column_names == ["key"]
    assert samples_table([]).num_rows == 0


def test_a_row_of_archives_reads_as_people_expect(objects: ObjectStore) -> None:
    write_table(objects, "archives/1.parquet", table())
    assert read_row(objects, "archives/1.parquet", 0) == {
        "key": "a",
        "neighbours": [7, 2],
        "neighbour_similarities": [0.5, 0.25],
        "concepts": [
            {
                "concept": "dog",
                "score": np.float32(0.9),
                "global": np.float32(0.1),
                "local": 0.0,
                "cluster": 0,
                "origins": [-1, 0],
            },
            {
                "concept": "zebra",
                "score": 0.5,
                "global": np.float32(0.2),
                "local": -1.0,
                "cluster": 1,
                "origins": [1],
            },
            {
                "concept": "cat",
                "score": -0.25,
                "global": np.float32(0.3),
                "local": 2.0,
                "cluster": 0,
                "origins": [0],
            },
        ],
    }
    assert read_row(objects, "archives/1.parquet", 1) == {
        "key": "b\n",
        "neighbours": [3],
        "neighbour_similarities": [0.125],
        "concepts": [],
    }
    assert read_table(objects, "archives/1.parquet").schema.equals(ARCHIVES)


def test_rows_are_found_in_every_row_group(objects: ObjectStore) -> None:
    keys = [f"{n}" for n in range(1000)]
    rows = pa.table({"key": keys})
    write_table(objects, "t", rows, row_group=256)
    assert [read_row(objects, "t", n)["key"] for n in (0, 255, 256, 767, 999)] == [
        "0",
        "255",
        "256",
        "767",
        "999",
    ]
    for row in (-1, 1000):
        with pytest.raises(NotFoundError, match=f"no row {row}"):
            read_row(objects, "t", row)


def test_missing_and_damaged_tables(objects: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        read_table(objects, "none")
    write_table(objects, "t", table())
    objects.put("cut", objects.get("t")[:-20])
    objects.put("text", b"hello")
    for path in ("cut", "text"):
        with pytest.raises(IntegrityError, match=path):
            read_table(objects, path)
        with pytest.raises(IntegrityError, match=path):
            read_row(objects, path, 0)


def test_archives_come_back_as_the_same_arrays(objects: ObjectStore) -> None:
    write_table(objects, "t", table(), row_group=2)
    for read in (
        table(),
        read_table(objects, "t"),
        pa.concat_tables([table().slice(0, 1), table().slice(1)]),
    ):
        read_back = archives_of(read, NAMES)
        for field in dataclasses.fields(Archives):
            got, expected = getattr(read_back, field.name), getattr(archives(), field.name)
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
    part = archives_of(table().slice(2), NAMES)
    assert part.concepts_C.tolist() == [2]
    assert part.offsets_B1.tolist() == [0, 1]
    assert part.origins_O.tolist() == [0, 1]
    assert archives_of(table().slice(3), NAMES).offsets_B1.tolist() == [0]


def test_archives_of_another_vocabulary_are_noticed() -> None:
    with pytest.raises(IntegrityError, match="'zebra'"):
        archives_of(table(), NAMES[:-1])


def test_parts_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="2 keys, 3 archives"):
        table(keys=["a", "b"])
    with pytest.raises(ValueError, match="ends of rows"):
        table(neighbours_BL=np.array([[7, 2], [NO_NEIGHBOUR, 3], [0, 1]]))


def test_no_images_no_neighbours() -> None:
    nothing = Archives(
        *(
            np.zeros(1 if name.endswith("1") else 0, np.int64)
            for name in ("offsets_B1", "c", "s", "g", "l", "k", "origin_offsets_C1", "o")
        )
    )
    empty = archives_table(
        nothing,
        keys=[],
        names=NAMES,
        neighbours_BL=np.zeros((0, 4), np.int64),
        neighbour_similarities_BL=np.zeros((0, 4)),
    )
    assert empty.num_rows == 0
    assert len(content_hash(empty)) == 64
    alone = table(neighbours_BL=np.zeros((3, 0), np.int64), neighbour_similarities_BL=np.zeros((3, 0)))
    assert alone["neighbours"].to_pylist() == [[], [], []]


def test_the_hash_is_of_the_values_not_of_the_file(objects: ObjectStore) -> None:
    values, neighbours, similarities = random_archives(700, 5)
    table = archives_table(
        values,
        keys=[f"{n}" for n in range(700)],
        names=[f"c{n}" for n in range(500)],
        neighbours_BL=neighbours,
        neighbour_similarities_BL=similarities,
    )
    expected = content_hash(table)
    for row_group in (64, 1000):
        write_table(objects, "t", table, row_group=row_group)
        assert content_hash(read_table(objects, "t")) == expected
    with objects.writing("u") as file:
        pq.write_table(table, file, compression="gzip", version="1.0", use_dictionary=False)
    assert content_hash(read_table(objects, "u")) == expected
    pieces = pa.concat_tables([table.slice(0, 3), table.slice(3, 0), table.slice(3, 500), table.slice(503)])
    assert content_hash(pieces) == expected
    assert content_hash(pa.table({"a": pa.array(["x", "y"]).dictionary_encode()})) == content_hash(
        pa.table({"a": pa.array(["x", "y"], pa.large_string())})
    )
    assert content_hash(pa.table({"a": pa.array([1, 2], pa.int8())})) == content_hash(
        pa.table({"a": pa.array([1, 2], pa.uint64())})
    )
    assert content_hash(pa.table({"a": [0.0, float("nan")]})) == content_hash(
        pa.table({"a": [-0.0, -float("nan")]})
    )


def test_the_hash_is_fixed_for_good() -> None:
    # A change of this value makes every published curation look different from its repetition.
    assert content_hash(table()) == "aa90bc71402d4855bc2720d3add1809660aa81182de8db483aa001744796d93f"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.slice(1),
        lambda t: t.take([1, 0, 2]),
        lambda t: t.rename_columns(["k", "neighbours", "neighbour_similarities", "concepts"]),
        lambda t: t.set_column(0, "key", pa.array(["a", "b", "\nü"])),
        lambda t: t.set_column(0, "key", pa.array(["ab", "\n", "ü"])),
        lambda t: t.set_column(1, "neighbours", pa.array([[7], [2, 3], [0, 1]])),
        lambda t: t.set_column(2, "neighbour_similarities", pa.array([[0.5, 0.25], [0.126], [1, 0.5]])),
        lambda t: t.drop_columns(["neighbours"]),
    ],
)
def test_the_hash_sees_every_change(change: object) -> None:
    assert content_hash(change(table())) != content_hash(table())  # type: ignore[operator]


def test_what_cannot_be_hashed_is_refused() -> None:
    for values in (pa.array(["a", None]), pa.array([[1, None]]), pa.array([True])):
        with pytest.raises(ValueError, match="column a"):
            content_hash(pa.table({"a": values}))


def test_hashes_are_combined_in_order() -> None:
    assert combined_hash(["a", "b"]) != combined_hash(["b", "a"])
    assert combined_hash(["ab"]) != combined_hash(["a", "b"])
    assert combined_hash(["a", "b"]) == combined_hash(iter(["a", "b"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    keys=st.lists(st.text(st.characters(exclude_categories=("Cs",))), min_size=1, max_size=12),
    cut=st.integers(0, 12),
)
def test_any_strings_survive(tmp_path: Path, keys: list[str], cut: int) -> None:
    objects = ObjectStore.open(str(tmp_path))
    rows = pa.table(
        {
            "key": keys,
            "lists": pa.array([[key] * (n % 3) for n, key in enumerate(keys)], pa.list_(pa.string())),
        }
    )
    write_table(objects, "t", rows, row_group=4)
    assert read_table(objects, "t").to_pylist() == rows.to_pylist()
    parts = pa.concat_tables([rows.slice(0, cut), rows.slice(cut)])
    assert content_hash(parts) == content_hash(rows)
