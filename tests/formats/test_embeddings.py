"""Embeddings in clip-retrieval's layout: read row by row, or refused as a whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.ready_embeddings import Files, npy, pair, parquet, write

from cocu.errors import InvalidInputError
from cocu.formats.embeddings import table_of
from cocu.formats.limits import Limits
from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.reading import RawSample, open_reading, read_samples
from cocu.formats.rejections import Reason, Rejection
from cocu.formats.shards import write_shard

from .archives import tar_of, zip_of

DIMENSIONS = 4
READY = ReadOptions(encoder="some encoder")


def units(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    made_ND = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return made_ND / np.linalg.norm(made_ND, axis=1, keepdims=True)


def captions(count: int, *, first: int = 0) -> dict[str, list[Any]]:
    numbers = range(first, first + count)
    return {
        "image_path": [f"{number:04d}" for number in numbers],
        "caption": [f"number {n}" for n in numbers],
    }


def read(
    files: Files, options: ReadOptions = READY, **changes: Any
) -> tuple[list[RawSample], list[Rejection]]:
    with open_reading(
        tar_of(files.items()), options=options, dimensions=DIMENSIONS, limits=Limits(**changes)
    ) as reading:
        assert reading.format == "clip-retrieval"
        items = list(reading.samples(threads=2))
    samples = [sample for sample in items if isinstance(sample, RawSample)]
    return samples, [rejection for rejection in items if isinstance(rejection, Rejection)]


def refusal(files: Files, options: ReadOptions = READY, **changes: Any) -> str:
    with pytest.raises(InvalidInputError) as refused:
        read(files, options, **changes)
    return str(refused.value)


def embedding(sample: RawSample) -> NDArray[np.float16]:
    assert sample.embedding is not None
    return sample.embedding


def test_rows_belong_together_by_number_and_place() -> None:
    vectors = units(25)
    files: Files = {}
    # Written in any order, and 10 after 9 though "10" sorts before "9".
    for number, start in ((10, 15), (9, 5), (1, 0)):
        stop = {1: 5, 9: 15, 10: 25}[number]
        files |= pair(number, vectors[start:stop], captions(stop - start, first=start))
    samples, rejected = read(files)
    assert not rejected
    assert [sample.key for sample in samples] == [f"{number:04d}" for number in range(25)]
    assert [sample.caption for sample in samples] == [f"number {number}" for number in range(25)]
    np.testing.assert_array_equal([embedding(sample) for sample in samples], vectors.astype(np.float16))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.dtype(">f4")])
def test_vectors_of_norm_1_stay_what_they_are_bit_for_bit(dtype: Any) -> None:
    vectors = units(50).astype(np.float16)
    samples, _ = read(pair(0, vectors.astype(dtype), captions(50)))
    np.testing.assert_array_equal([embedding(sample) for sample in samples], vectors)


def test_other_vectors_get_norm_1() -> None:
    scales = np.array([[0.01], [3.0], [100.0], [0.9]])
    samples, _ = read(pair(0, (units(4) * scales).astype(np.float32), captions(4)))
    np.testing.assert_allclose([embedding(sample) for sample in samples], units(4), atol=1e-3)


def test_columns_in_fortran_order_are_rows_all_the_same() -> None:
    vectors = units(5).astype(np.float16)
    samples, _ = read(pair(0, np.asfortranarray(vectors), captions(5)))
    np.testing.assert_array_equal([embedding(sample) for sample in samples], vectors)


def test_rows_without_direction_or_caption_are_rejected_alone() -> None:
    vectors = units(7)
    vectors[1] = 0
    vectors[2, 3] = np.nan
    vectors[3, 0] = np.inf
    columns = captions(7)
    columns["caption"][4] = None
    columns["caption"][5] = "  "
    samples, rejected = read(pair(0, vectors, columns))
    assert [sample.key for sample in samples] == ["0000", "0006"]
    assert [(rejection.key, rejection.reason) for rejection in rejected] == [
        ("0001", Reason.BAD_EMBEDDING),
        ("0002", Reason.BAD_EMBEDDING),
        ("0003", Reason.BAD_EMBEDDING),
        ("0004", Reason.MISSING_CAPTION),
        ("0005", Reason.EMPTY_CAPTION),
    ]
    assert rejected[0].member == "metadata/metadata_0.parquet, row 1"


@pytest.mark.parametrize("rows", [4, 6])
def test_counts_that_differ_are_told(rows: int) -> None:
    wrong = refusal(pair(0, units(5), captions(5)) | pair(1, units(5), captions(rows)))
    assert "img_emb_1.npy has 5 rows" in wrong
    assert f"metadata_1.parquet {rows}" in wrong


def test_dimensions_of_another_encoder_are_told() -> None:
    wrong = refusal(pair(0, np.ones((3, 7), np.float16), captions(3)))
    assert "7 dimensions" in wrong
    assert "4" in wrong


@pytest.mark.parametrize("lost", ["img_emb/img_emb_1.npy", "metadata/metadata_1.parquet"])
def test_a_file_that_stands_alone_is_named(lost: str) -> None:
    files = pair(0, units(2), captions(2)) | pair(1, units(2), captions(2, first=2))
    del files[lost]
    assert "_1." in refusal(files)


@pytest.mark.parametrize(
    ("columns", "lacking"),
    [
        ({"image_path": ["a"], "words": ["b"]}, "captions"),
        ({"path": ["a"], "caption": ["b"]}, "keys"),
    ],
)
def test_a_table_without_captions_or_keys_is_refused(columns: dict[str, list[str]], lacking: str) -> None:
    assert f"no column of {lacking}" in refusal(pair(0, units(1), columns))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("img_emb/img_emb_0.npy", b"no array", "is no array"),
        ("img_emb/img_emb_0.npy", npy(np.array([["a"]], dtype=object)), "holds object"),
        ("img_emb/img_emb_0.npy", npy(np.ones((2, 4), np.int32)), "holds int32"),
        ("img_emb/img_emb_0.npy", npy(np.ones(8, np.float16)), "of shape (8,)"),
        ("img_emb/img_emb_0.npy", npy(units(2))[:-3], "ends before"),
        ("img_emb/img_emb_0.npy", npy(units(2)).replace(b"(2, 4)", b"(9**9, 4)"), "is no array"),
        ("img_emb/img_emb_0.npy", npy(units(2)).replace(b"(2, 4)", b"(-2,4)"), "of shape (-2, 4)"),
        ("metadata/metadata_0.parquet", b"PAR1 no", "cannot be opened"),
    ],
)
def test_damaged_files_are_named(name: str, data: bytes, said: str) -> None:
    wrong = refusal(pair(0, units(2), captions(2)) | {name: data})
    assert name in wrong
    assert said in wrong


def test_damage_inside_a_table_refuses_the_whole() -> None:
    table = bytearray(parquet(captions(500)))
    table[40:400] = bytes(360)
    refusal(pair(0, units(500), captions(500)) | {"metadata/metadata_0.parquet": bytes(table)})


def test_an_archive_that_ends_early_is_refused() -> None:
    whole = tar_of(pair(0, units(100), captions(100)).items()).getvalue()
    with pytest.raises(InvalidInputError, match="to its end"):
        list(read_samples(io.BytesIO(whole[:1500]), options=READY))


def test_more_rows_than_the_limit_are_refused() -> None:
    assert "at most 4" in refusal(pair(0, units(5), captions(5)), max_rows=4)


def test_zeros_that_unpack_to_gigabytes_are_not_unpacked() -> None:
    packed = tar_of((pair(0, np.zeros((2_000_000, 4), np.float64), captions(1))).items(), "w:gz")
    with pytest.raises(InvalidInputError, match="more than"):
        list(read_samples(packed, options=READY))


@pytest.mark.parametrize("prefix", ["", "some/where/"])
@pytest.mark.parametrize("container", ["tar", "tar.gz", "zip", "folder"])
def test_every_container_gives_the_same(container: str, prefix: str, tmp_path: Path) -> None:
    files = pair(0, units(6), captions(6)) | pair(1, units(3, seed=1), captions(3, first=6))
    expected, _ = read(files)
    named = {f"{prefix}{name}": data for name, data in files.items()} | {f"{prefix}text_emb/0.npy": b"junk"}
    source: Any = {
        "tar": lambda: tar_of(named.items()),
        "tar.gz": lambda: tar_of(named.items(), "w:gz"),
        "zip": lambda: zip_of(named.items()),
        "folder": lambda: write(named, tmp_path),
    }[container]()
    samples = list(read_samples(source, options=READY))
    assert samples == expected


def test_keys_come_from_the_metadata() -> None:
    columns = captions(2) | {"key": ["first", "second"], "id": [5, 6]}
    assert [sample.key for sample in read(pair(0, units(2), columns))[0]] == ["first", "second"]
    del columns["key"]
    assert [sample.key for sample in read(pair(0, units(2), columns))[0]] == ["5", "6"]
    chosen = ReadOptions.from_json({"encoder": "x", "columns": {"key": "caption"}})
    keyed = captions(2) | {"text": ["a", "b"]}
    named = ReadOptions.from_json({"encoder": "x", "columns": {"key": "text", "caption": "caption"}})
    assert [sample.key for sample in read(pair(0, units(2), keyed), named)[0]] == ["a", "b"]
    assert [sample.key for sample in read(pair(0, units(2), captions(2)), chosen)[0]] == [
        "number 0",
        "number 1",
    ]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("000012345", "000012345"),
        ("/data/images/a/1.jpg", "data/images/a/1"),
        ("/data/images/b/1.JPEG", "data/images/b/1"),
        ("v1.5", "v1_5"),
        ("a.b.png", "a_b"),
    ],
)
def test_a_path_is_a_key_without_its_ending(path: str, key: str) -> None:
    columns = {"image_path": [path], "caption": ["a dog"]}
    assert read(pair(0, units(1), columns))[0][0].key == key


def test_what_else_is_known_is_metadata() -> None:
    columns = captions(1) | {"url": ["https://example.org/1"], "similarity": [0.5], "NSFW": ["UNLIKELY"]}
    (sample,), _ = read(pair(0, units(1), columns))
    assert sample.metadata == {
        "image_path": "0000",
        "url": "https://example.org/1",
        "similarity": 0.5,
        "NSFW": "UNLIKELY",
    }


def test_several_captions_are_chosen_from() -> None:
    columns = {"image_path": ["a"], "caption": [["a dog", "a cat"]]}
    every = ReadOptions(encoder="x", captions=CaptionChoice.ALL)
    samples, _ = read(pair(0, units(1), columns), every)
    assert [(sample.key, sample.caption) for sample in samples] == [("a-0", "a dog"), ("a-1", "a cat")]
    np.testing.assert_array_equal(embedding(samples[0]), embedding(samples[1]))


def test_without_an_encoder_they_are_told_to_be_embeddings() -> None:
    (rejection,) = read_samples(tar_of(pair(0, units(2), captions(2)).items()))
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.ENCODER_NOT_NAMED


def test_an_encoder_without_embeddings_is_told() -> None:
    with pytest.raises(InvalidInputError, match="img_emb"):
        list(read_samples(tar_of([("a.txt", b"a dog")]), options=READY))
    with pytest.raises(InvalidInputError, match="this is parquet"):
        list(read_samples(io.BytesIO(parquet(captions(1))), options=READY))


def test_shards_hold_captions_and_metadata_and_no_images() -> None:
    columns = captions(3) | {"url": ["u0", "u1", "u2"]}
    samples, _ = read(pair(0, units(3), columns))
    target = io.BytesIO()
    rows = write_shard(iter(samples), target)
    assert [(row.offset, row.size, row.width, row.height) for row in rows] == [(0, 0, 0, 0)] * 3
    assert len({row.sha256 for row in rows}) == 3
    again = io.BytesIO()
    write_shard(iter(read(pair(0, units(3), columns))[0]), again)
    assert target.getvalue() == again.getvalue()
    names = [name for name in ("0000.txt", "0000.json", "0002.txt") if name.encode() in target.getvalue()]
    assert names == ["0000.txt", "0000.json", "0002.txt"]


@given(st.from_regex(r"[a-z:/]{0,9}/img_emb/[a-z_]{0,8}[0-9]{1,5}\.npy", fullmatch=True))
def test_metadata_lie_beside_the_embeddings(vectors: str) -> None:
    table = table_of(vectors)
    assert table is not None
    assert table.count("metadata/") >= 1
    assert table.endswith(".parquet")
    assert table.rpartition("metadata/")[0] == vectors.rpartition("img_emb/")[0]
