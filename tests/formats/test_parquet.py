"""Parquet, written by the format's own library in the schemas people have."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.errors import InvalidInputError
from cocu.formats.archive import ArchiveEndsError
from cocu.formats.columns import Columns
from cocu.formats.http_fetch import FetchFailedError, FetchReason
from cocu.formats.limits import Limits
from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.parquet_pages import check_pages
from cocu.formats.reading import RawSample, open_reading, read_samples
from cocu.formats.records import content_key
from cocu.formats.rejections import Reason, Rejection

from .archives import picture, read, reasons

IMG2DATASET = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
        ("jpg", pa.binary()),
    ]
)
"""What img2dataset writes with `--output_format parquet`; without `jpg`, beside its tars."""
HUGGING_FACE = pa.schema(
    [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("text", pa.string())]
)


def parquet_of(rows: Sequence[dict[str, Any]] | pa.Table, schema: pa.Schema | None = None, **how: Any) -> Any:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema)
    target = io.BytesIO()
    pq.write_table(table, target, **how)
    target.seek(0)
    return target


def downloaded(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "url": f"https://example.org/{number}.jpg",
        "caption": f"dog {number}",
        "key": f"{number:09d}",
        "status": "success",
        "width": 9,
        "height": 7,
        "jpg": picture(number),
    }
    return row | changes


def test_img2dataset__its_rows_are_samples_and_what_it_could_not_download_is_reported() -> None:
    failed = downloaded(1, status="failed_to_download", error_message="404", jpg=None)
    file = parquet_of([downloaded(0), failed, downloaded(2), downloaded(3, jpg=None)], IMG2DATASET)
    samples, rejections = read(file)
    assert [(sample.key, sample.caption, sample.image) for sample in samples] == [
        ("000000000", "dog 0", picture(0)),
        ("000000002", "dog 2", picture(2)),
    ]
    assert samples[0].metadata["url"] == "https://example.org/0.jpg"
    assert samples[0].metadata["status"] == "success"
    assert "jpg" not in samples[0].metadata
    assert reasons(rejections) == [
        ("000000001", Reason.NOT_DOWNLOADED),
        ("000000003", Reason.MISSING_IMAGE),
    ]
    assert "failed_to_download" in rejections[0].detail


def test_img2dataset__the_table_beside_its_tars_is_read_by_fetching_and_only_when_asked() -> None:
    file = parquet_of([downloaded(n) for n in range(2)], IMG2DATASET.remove(11))
    assert reasons(read(file)[1]) == [(None, Reason.FETCH_NOT_ASKED)]

    def fetch(url: str) -> bytes:
        if url.endswith("/1.jpg"):
            raise FetchFailedError(FetchReason.STATUS, "404")
        return picture(5)

    samples, rejections = read(file, options=ReadOptions(fetch=True), fetch=fetch)
    assert [(sample.key, sample.image) for sample in samples] == [("000000000", picture(5))]
    assert reasons(rejections) == [("000000001", Reason.FETCH_FAILED)]


def test_hugging_face__bytes_and_text_with_nulls_rejected() -> None:
    rows = [
        {"image": {"bytes": picture(0), "path": "train/a.b.jpg"}, "text": "a dog"},
        {"image": {"bytes": None, "path": "c.jpg"}, "text": "a cat"},
        {"image": None, "text": "a bird"},
        {"image": {"bytes": picture(3, "PNG"), "path": None}, "text": "a car"},
        {"image": {"bytes": picture(4), "path": "e.jpg"}, "text": None},
        {"image": {"bytes": b"", "path": "f.jpg"}, "text": "nothing"},
    ]
    samples, rejections = read(parquet_of(rows, HUGGING_FACE))
    assert [(sample.key, sample.caption, sample.extension) for sample in samples] == [
        ("train/a_b", "a dog", "jpg"),
        (samples[1].key, "a car", "png"),
    ]
    assert len(samples[1].key) == 20
    assert [rejection.reason for rejection in rejections] == [
        Reason.MISSING_IMAGE,
        Reason.MISSING_IMAGE,
        Reason.MISSING_CAPTION,
        Reason.MISSING_IMAGE,
    ]
    assert rejections[0].key == "c"
    assert "'c.jpg'" in rejections[0].detail


def test_keys_without_a_column_are_those_of_the_content_wherever_the_row_stands() -> None:
    rows = [{"image": {"bytes": picture(n), "path": None}, "text": f"{n}"} for n in range(4)]
    forth, _ = read(parquet_of(rows, HUGGING_FACE))
    back, _ = read(parquet_of(rows[::-1], HUGGING_FACE, row_group_size=1))
    assert len({sample.key for sample in forth}) == 4
    assert [sample.key for sample in forth] == [sample.key for sample in back][::-1]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (CaptionChoice.FIRST, [("k", "one")]),
        (CaptionChoice.ALL, [("k-0", "one"), ("k-1", "two"), ("k-2", "three")]),
    ],
)
def test_lists_of_captions(choice: CaptionChoice, expected: list[tuple[str, str]]) -> None:
    rows = [{"id": "k", "image": picture(), "captions": ["one", None, "two", " ", "three"]}]
    samples, rejections = read(parquet_of(rows), options=ReadOptions(captions=choice))
    assert rejections == []
    assert [(sample.key, sample.caption) for sample in samples] == expected
    assert {sample.image for sample in samples} == {picture()}


def test_a_random_caption_is_drawn_by_the_key_alone() -> None:
    rows = [{"id": f"{n}", "image": picture(), "captions": ["one", "two", "three"]} for n in range(60)]
    options = ReadOptions(captions=CaptionChoice.RANDOM)
    forth, _ = read(parquet_of(rows), options=options)
    back, _ = read(parquet_of(rows[::-1]), options=options)
    assert {sample.caption for sample in forth} == {"one", "two", "three"}
    assert {sample.key: sample.caption for sample in forth} == {sample.key: sample.caption for sample in back}


def test_columns_may_be_named() -> None:
    rows = [{"nr": 7, "caption": "not this", "photo": picture(), "beschreibung": "ein Hund"}]
    options = ReadOptions(columns=Columns(key="nr", image="photo", caption="beschreibung"))
    with open_reading(parquet_of(rows), options=options) as reading:
        (sample,) = reading.samples()
    assert isinstance(sample, RawSample)
    assert (sample.key, sample.caption) == ("7", "ein Hund")
    assert (reading.format, reading.columns) == ("parquet", options.columns)
    assert sample.metadata == {"caption": "not this"}


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([{"image": picture(), "words": "a dog"}], ReadOptions(), "captions .* words: string"),
        ([{"text": "a dog", "image": "a.jpg"}], ReadOptions(), "images .* image: string"),
        ([{"caption": "a dog", "jpg": picture()}], ReadOptions(columns=Columns(image="png")), "'png'"),
        ([{"caption": 1, "jpg": picture()}], ReadOptions(), "captions"),
        ([{"caption": {"en": "a dog"}, "jpg": picture()}], ReadOptions(), "captions"),
        ([{"caption": "a dog", "image": {"bytes": 3}}], ReadOptions(), "images"),
    ],
)
def test_tables_without_the_needed_columns_are_refused(
    rows: list[dict[str, Any]], options: ReadOptions, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read(parquet_of(rows), options=options)


def test_strings_of_any_kind_are_read_and_bad_ones_repaired() -> None:
    broken = pa.array([b"a \xff dog", b"a cat"]).view(pa.string())
    table = pa.table(
        {
            "key": pa.array(["a", "b"]).dictionary_encode(),
            "caption": broken,
            "image": pa.array([picture(1), picture(2)], pa.large_binary()),
            "author": pa.array([b"\xff", None]).view(pa.string()),
            "score": [float("nan"), 0.5],
            "nested": [{"a": 1}, {"a": 2}],
        }
    )
    samples, rejections = read(parquet_of(table))
    assert rejections == []
    assert [(sample.key, sample.caption) for sample in samples] == [("a", "a ÿ dog"), ("b", "a cat")]
    assert [sample.metadata for sample in samples] == [{"author": "ÿ"}, {"score": 0.5}]


@pytest.mark.parametrize("key", ["", "  ", "/etc/passwd", "../x", "a\0b", "x" * 600, None])
def test_unusable_keys_give_way_to_those_of_the_content(key: str | None) -> None:
    samples, rejections = read(parquet_of([downloaded(0, key=key), downloaded(1)], IMG2DATASET))
    assert rejections == []
    assert [sample.key for sample in samples] == [content_key(picture(0), "dog 0"), "000000001"]


def test_rows_of_one_name_have_keys_of_their_content_wherever_they_stand() -> None:
    # As Hugging Face writes class folders: base names, the same in every class.
    rows = [
        {"image": {"bytes": picture(4 * c + n), "path": f"{n:03}.jpg"}, "text": f"{name} {n}"}
        for c, name in enumerate(("cat", "dog", "cow"))
        for n in range(4)
    ] + [{"image": {"bytes": picture(99), "path": "alone.jpg"}, "text": "a bird"}]
    forth, rejections = read(parquet_of(rows, HUGGING_FACE))
    back, _ = read(parquet_of(rows[::-1], HUGGING_FACE, row_group_size=2))
    cut, _ = read(parquet_of([row for row in rows if "cow" not in row["text"]], HUGGING_FACE))
    assert rejections == []
    assert len({sample.key for sample in forth}) == 13
    assert forth[-1].key == "alone"
    assert [sample.key for sample in back] == [sample.key for sample in forth][::-1]
    assert {sample.key for sample in cut} < {sample.key for sample in forth}


@pytest.mark.parametrize("column", ["id", "__key__", "uid", "key"])
def test_rows_of_one_id_are_samples_each_and_copies_are_told(column: str) -> None:
    rows = [{column: "7", "image": picture(n), "caption": f"a dog {k}"} for n, k in ((1, 1), (1, 2), (2, 1))]
    rows += [rows[0], {column: "a.b", "image": picture(3), "caption": "x"}]
    rows += [{column: "a_b", "image": picture(4), "caption": "y"}]
    samples, rejections = read(parquet_of(rows))
    assert [sample.caption for sample in samples] == ["a dog 1", "a dog 2", "a dog 1", "x", "y"]
    assert len({sample.key for sample in samples}) == 5
    assert [rejection.reason for rejection in rejections] == [Reason.DUPLICATE_KEY]


def test_several_files_one_after_the_other_are_refused_rather_than_read_wrong() -> None:
    first, second = (
        parquet_of([downloaded(n, caption=f"dog {k}") for n in range(k)]).getvalue() for k in (3, 9)
    )
    for content in (first + second, second + first, first + first):
        with pytest.raises(InvalidInputError, match="several Parquet files"):
            read(io.BytesIO(content))


def test_captions_beyond_the_limit_are_told() -> None:
    rows = [{"id": "k", "image": picture(), "captions": [f"{n}" for n in range(40)]}]
    samples, rejections = read(parquet_of(rows), options=ReadOptions(captions=CaptionChoice.ALL))
    assert (len(samples), reasons(rejections)) == (32, [("k", Reason.TOO_MANY_CAPTIONS)])


def test_a_dictionary_that_repeats_one_image_a_million_times_ends_at_the_ratio() -> None:
    values = pa.array([picture() + bytes(8 << 20)], pa.binary())
    indices = pa.array([0] * 100_000, pa.int32())
    table = pa.table({"jpg": pa.DictionaryArray.from_arrays(indices, values), "caption": ["a dog"] * 100_000})
    file = parquet_of(table, compression="zstd")
    assert file.getbuffer().nbytes < 10_000
    before = pa.total_allocated_bytes()
    peak, items = 0, []
    for item in read_samples(file):
        peak = max(peak, pa.total_allocated_bytes() - before)
        items.append(item)
    assert len(items) < 5
    assert isinstance(items[-1], Rejection)
    assert items[-1].reason is Reason.COMPRESSION_RATIO
    assert peak < 64 << 20


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_page_that_unpacks_to_too_much_is_never_unpacked(version: str, dictionary: bool) -> None:
    rows = [{"jpg": bytes(64 << 20), "caption": "a dog"}]
    file = parquet_of(
        rows, compression="zstd", use_dictionary=dictionary, data_page_version=version, write_statistics=True
    )
    ordinary = pa.default_memory_pool()
    watched = pa.proxy_memory_pool(ordinary)
    pa.set_memory_pool(watched)
    try:
        assert reasons(read(file)[1]) == [(None, Reason.COMPRESSION_RATIO)]
    finally:
        pa.set_memory_pool(ordinary)
    assert watched.max_memory() < 16 << 20


def test_pages_are_measured_by_their_own_headers_in_files_of_any_kind() -> None:
    rows = [downloaded(n, error_message="x" * n) for n in range(300)]
    for version, codec, dictionary in itertools.product(
        ("1.0", "2.0"), ("none", "snappy", "zstd"), (True, False)
    ):
        file = parquet_of(
            rows,
            IMG2DATASET,
            data_page_version=version,
            compression=codec,
            use_dictionary=dictionary,
            row_group_size=70,
            data_page_size=1000,
            write_page_checksum=True,
            write_page_index=True,
            write_batch_size=10,
        )
        samples, rejections = read(file)
        assert (len(samples), rejections) == (300, [])
        assert reasons(read(file, Limits(max_page_bytes=1500))[1]) == [(None, Reason.DECOMPRESSED_TOO_LARGE)]


@given(st.binary(max_size=200))
def test_no_header_of_a_page_raises_anything_else(header: bytes) -> None:
    column = SimpleNamespace(
        data_page_offset=0, has_dictionary_page=False, total_compressed_size=200, num_values=10
    )
    with suppress(ArchiveEndsError):
        check_pages(io.BytesIO(header), column, Limits())


def test_a_list_that_claims_very_many_values_is_refused() -> None:
    table = pa.table(
        {"jpg": [picture()], "captions": pa.array([[None] * ((1 << 24) + 1)], pa.list_(pa.string()))}
    )
    file = parquet_of(table, compression="zstd", data_page_size=1 << 30, write_batch_size=1 << 25)
    assert file.getbuffer().nbytes < 10_000
    assert reasons(read(file)[1]) == [(None, Reason.DECOMPRESSED_TOO_LARGE)]


def test_a_large_row_group_is_read_row_by_row() -> None:
    rows = [downloaded(n, jpg=picture(n) + n.to_bytes(3, "big") * 70_000) for n in range(300)]
    file = parquet_of(rows, IMG2DATASET, compression="none", use_dictionary=False, write_batch_size=8)
    assert pq.ParquetFile(file).num_row_groups == 1
    assert file.getbuffer().nbytes > 60 << 20
    before, peak, count = pa.total_allocated_bytes(), 0, 0
    for _ in read_samples(file):
        peak = max(peak, pa.total_allocated_bytes() - before)
        count += 1
    assert count == 300
    assert peak < 16 << 20


def test_deep_nesting_is_refused() -> None:
    kind: pa.DataType = pa.int32()
    for _ in range(50):
        kind = pa.struct([("a", kind)])
    table = pa.table({"caption": ["a dog"], "jpg": [picture()], "deep": pa.nulls(1, kind)})
    with pytest.raises(InvalidInputError, match="nested"):
        read(parquet_of(table))


def test_limits() -> None:
    file = parquet_of([downloaded(n) for n in range(3)], IMG2DATASET)
    assert reasons(read(file, Limits(max_rows=2))[1]) == [(None, Reason.TOO_MANY_ROWS)]
    assert reasons(read(file, Limits(max_decompressed_bytes=1000))[1])[-1] == (
        None,
        Reason.DECOMPRESSED_TOO_LARGE,
    )
    assert {rejection.reason for rejection in read(file, Limits(max_image_bytes=100))[1]} == {
        Reason.IMAGE_TOO_LARGE
    }


def test_an_empty_table() -> None:
    assert reasons(read(parquet_of([], IMG2DATASET))[1]) == [(None, Reason.NO_SAMPLES)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_never_raise_anything_else(data: st.DataObject) -> None:
    good = parquet_of([downloaded(n) for n in range(5)], IMG2DATASET, row_group_size=2).getvalue()
    at = data.draw(st.integers(4, len(good) - 1))
    damaged = bytearray(good)
    damaged[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
    for content in (bytes(damaged), good[:at]):
        try:
            items = list(read_samples(io.BytesIO(content)))
        except InvalidInputError:
            continue
        assert items
        assert len(items) <= 6
