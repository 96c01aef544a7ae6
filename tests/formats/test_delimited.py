"""CSV and TSV of URLs and captions."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.errors import InvalidInputError
from cocu.formats.columns import Columns
from cocu.formats.http_fetch import FetchFailedError, FetchReason, FetchRefusedError
from cocu.formats.limits import Limits
from cocu.formats.options import ReadOptions
from cocu.formats.reading import RawSample, open_reading, read_samples
from cocu.formats.rejections import Reason, Rejection

from .archives import picture, read, reasons

URL = "https://example.org/1.jpg"
CC3M = f'a very typical bus station\t{URL}\nsays "hi" to, them\thttp://example.org/2.jpg\n'.encode()
CC12M = f'{URL}\ta very typical bus station\nhttp://example.org/2.jpg\tsays "hi" to, them\n'.encode()
FETCH = ReadOptions(fetch=True)


def fetch(url: str) -> bytes:
    if "missing" in url:
        raise FetchFailedError(FetchReason.STATUS, "404 Not Found")
    if "inside" in url:
        raise FetchRefusedError(FetchReason.ADDRESS, "not public")
    return picture(len(url))


def found(content: bytes, options: ReadOptions = FETCH) -> list[tuple[str, Any]]:
    samples, rejections = read(io.BytesIO(content), options=options, fetch=fetch)
    assert rejections == []
    return [(sample.caption, sample.metadata["url"]) for sample in samples]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (CC3M, Columns(url="1", caption="0")),
        (CC12M, Columns(url="0", caption="1")),
        (b"caption\turl\n" + CC3M, Columns(url="url", caption="caption")),
        (b"url\tcaption\r\n" + CC12M.replace(b"\n", b"\r\n"), Columns(url="url", caption="caption")),
    ],
)
def test_tsv__the_order_of_columns_is_detected_and_stated(content: bytes, columns: Columns) -> None:
    with open_reading(io.BytesIO(content), options=FETCH) as reading:
        assert (reading.format, reading.columns) == ("tsv", columns)
    assert found(content) == [
        ("a very typical bus station", URL),
        ('says "hi" to, them', "http://example.org/2.jpg"),
    ]


def test_keys_are_those_of_the_content_in_either_order() -> None:
    keys = [
        [sample.key for sample in read(io.BytesIO(c), options=FETCH, fetch=fetch)[0]] for c in (CC3M, CC12M)
    ]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 2


def test_tsv__a_tab_that_nobody_quoted_makes_a_bad_row() -> None:
    samples, rejections = read(
        io.BytesIO(f"{URL}\tx\n{URL}\tone\ttwo\n".encode()), options=FETCH, fetch=fetch
    )
    assert [sample.caption for sample in samples] == ["x"]
    assert [(rejection.member, rejection.reason) for rejection in rejections] == [("line 2", Reason.BAD_ROW)]
    assert "3 cells where the first row has 2" in rejections[0].detail


def test_csv__as_python_writes_it() -> None:
    target = io.StringIO(newline="")
    rows = [["id", "url", "text", "likes"], ["a.1", URL, 'a "big"\ndog, sitting', "3"], ["b", URL, "x", "4"]]
    csv.writer(target).writerows(rows)
    samples, rejections = read(io.BytesIO(target.getvalue().encode()), options=FETCH, fetch=fetch)
    assert rejections == []
    assert [(sample.key, sample.caption) for sample in samples] == [
        ("a_1", 'a "big"\ndog, sitting'),
        ("b", "x"),
    ]
    assert samples[0].metadata == {"url": URL, "likes": "3"}


def test_csv__columns_may_be_named() -> None:
    content = f"bild,wort,satz\n{URL},Hund,ein Hund\n".encode()
    options = ReadOptions(fetch=True, columns=Columns(url="bild", caption="satz", key="wort"))
    ((caption, _),) = found(content, options)
    assert caption == "ein Hund"
    with pytest.raises(InvalidInputError, match="'satzz'"):
        read(io.BytesIO(content), options=ReadOptions(columns=Columns(url="bild", caption="satzz")))


def test_nothing_is_fetched_unless_it_is_asked_for() -> None:
    _, rejections = read(io.BytesIO(CC3M), fetch=fetch)
    assert reasons(rejections) == [(None, Reason.FETCH_NOT_ASKED)]
    assert "fetch=true" in rejections[0].detail


def test_bad_rows_are_reported_and_the_rest_is_read() -> None:
    lines = [
        "url\tcaption",
        f"{URL}\tgood",
        "ftp://example.org/a.jpg\tno web address",
        f"{URL}\t  ",
        f"{URL}",
        "",
        "https://example.org/missing.jpg\tgone",
        "https://inside.example.org/secret.jpg\tnot public",
        f"{URL}?2\t{'x' * 70_000}",
        f"{URL}?3\t{'x' * 300_000}",
        f"{URL}?4\tlast",
    ]
    samples, rejections = read(io.BytesIO("\n".join(lines).encode()), options=FETCH, fetch=fetch)
    assert [sample.caption for sample in samples] == ["good", "last"]
    assert [rejection.reason for rejection in rejections] == [
        Reason.BAD_ROW,
        Reason.EMPTY_CAPTION,
        Reason.BAD_ROW,
        Reason.FETCH_FAILED,
        Reason.FETCH_FAILED,
        Reason.CAPTION_TOO_LONG,
        Reason.BAD_ROW,
    ]
    assert all(rejection.member for rejection in rejections)


def test_csv__a_quote_that_never_ends_costs_little() -> None:
    rows = "".join(f"{URL}?{n},{n}\n" for n in range(20_000))
    content = f'url,caption\n{URL},"\n{rows}'.encode()
    options = ReadOptions(fetch=True)
    items = list(read_samples(io.BytesIO(content), options=options, fetch=fetch))
    bad = [rejection for rejection in items if isinstance(rejection, Rejection)]
    assert [rejection.reason for rejection in bad] == [Reason.BAD_ROW]
    assert sum(isinstance(sample, RawSample) for sample in items) > 10_000


def test_limits_and_empty_tables() -> None:
    assert reasons(read(io.BytesIO(CC3M), Limits(max_rows=1), options=FETCH, fetch=fetch)[1]) == [
        (None, Reason.TOO_MANY_ROWS)
    ]
    assert reasons(read(io.BytesIO(b"url,caption\n"), options=FETCH)[1]) == [(None, Reason.NO_SAMPLES)]
    for content in (b"url,url2\n", b"url\n"):
        with pytest.raises(InvalidInputError):
            read(io.BytesIO(content), options=ReadOptions(format="csv"))


@given(st.binary(max_size=300), st.sampled_from(["csv", "tsv"]))
def test_no_bytes_raise_anything_else(tail: bytes, format: str) -> None:
    head = b"url\tcaption\n" if format == "tsv" else b"url,caption\n"
    options = ReadOptions(format=format, fetch=True)
    items = list(read_samples(io.BytesIO(head + tail), options=options, fetch=fetch))
    assert all(isinstance(item, RawSample | Rejection) for item in items)


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
def test_any_separator__is_detected(separator: str) -> None:
    content = f"url{separator}caption\r\n{URL}{separator}a dog\r\n".encode()
    with open_reading(io.BytesIO(content), options=FETCH) as reading:
        assert reading.format == ("tsv" if separator == "\t" else "csv")
    assert found(content) == [("a dog", URL)]
    _, rejections = read(io.BytesIO(content))
    assert "separator" in rejections[0].detail


def test_headers_of_other_names_are_seen_by_what_stands_below() -> None:
    content = f"photo_url;beschreibung;sku\n{URL};ein Hund;7\n".encode()
    options = ReadOptions(fetch=True, columns=Columns(caption="beschreibung"))
    with open_reading(io.BytesIO(content), options=options) as reading:
        assert reading.columns == Columns(url="photo_url", caption="beschreibung")
    assert found(content, options) == [("ein Hund", URL)]
    with pytest.raises(InvalidInputError, match=r"no column of captions .*beschreibung.*separator ';'"):
        read(io.BytesIO(content), options=FETCH)


def test_two_columns_of_one_name_are_refused_where_they_matter() -> None:
    with pytest.raises(InvalidInputError, match="two columns are called 'caption'"):
        read(io.BytesIO(f"url,caption,caption\n{URL},a,b\n".encode()), options=FETCH)


def test_a_table_of_paths_says_where_it_belongs() -> None:
    for content in (b"filepath\ttitle\nimg/1.jpg\ta dog\n", b"image,caption\n1.jpg,a dog\n"):
        with pytest.raises(InvalidInputError, match="cocu dataset add"):
            read(io.BytesIO(content))


def test_a_url_with_commas_that_nobody_quoted_is_not_asked_for() -> None:
    fetched: list[str] = []
    content = (
        b"url,caption\nhttp://example.org/3.jpg?crop=2669,1999&w=80,a dog\nhttp://example.org/4.jpg,a cat\n"
    )
    items = list(
        read_samples(io.BytesIO(content), options=FETCH, fetch=lambda url: fetched.append(url) or picture())
    )
    assert fetched == ["http://example.org/4.jpg"]
    assert [rejection.member for rejection in items if isinstance(rejection, Rejection)] == ["line 2"]
