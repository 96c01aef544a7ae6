"""CSV and TSV of URLs and captions."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.datasets.columns import Columns
from cocu.datasets.fetching import FetchFailedError, FetchReason, FetchRefusedError
from cocu.datasets.formats import Format
from cocu.datasets.limits import Limits
from cocu.datasets.options import ReadOptions
from cocu.datasets.reading import RawSample, open_reading, read_samples
from cocu.datasets.rejections import Reason, Rejection
from cocu.errors import InvalidInputError

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
    return [(each.caption, each.metadata["url"]) for each in samples]


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
        assert (reading.format, reading.columns) == (Format.TSV, columns)
    assert found(content) == [
        ("a very typical bus station", URL),
        ('says "hi" to, them', "http://example.org/2.jpg"),
    ]


def test_keys_are_those_of_the_content_in_either_order() -> None:
    keys = [[each.key for each in read(io.BytesIO(c), options=FETCH, fetch=fetch)[0]] for c in (CC3M, CC12M)]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 2


def test_tsv__tabs_in_a_caption_belong_to_it() -> None:
    assert found(f"{URL}\tx\n{URL}\tone\ttwo\n".encode()) == [("x", URL), ("one\ttwo", URL)]
    assert found(f"x\t{URL}\none\ttwo\t{URL}\n".encode()) == [("x", URL), ("one\ttwo", URL)]


def test_csv__as_python_writes_it() -> None:
    target = io.StringIO(newline="")
    rows = [["id", "url", "text", "likes"], ["a.1", URL, 'a "big"\ndog, sitting', "3"], ["b", URL, "x", "4"]]
    csv.writer(target).writerows(rows)
    samples, rejections = read(io.BytesIO(target.getvalue().encode()), options=FETCH, fetch=fetch)
    assert rejections == []
    assert [(each.key, each.caption) for each in samples] == [("a_1", 'a "big"\ndog, sitting'), ("b", "x")]
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
    assert [each.caption for each in samples] == ["good", "last"]
    assert [each.reason for each in rejections] == [
        Reason.BAD_ROW,
        Reason.EMPTY_CAPTION,
        Reason.EMPTY_CAPTION,
        Reason.FETCH_FAILED,
        Reason.FETCH_FAILED,
        Reason.CAPTION_TOO_LONG,
        Reason.BAD_ROW,
    ]
    assert all(each.member for each in rejections)


def test_csv__a_quote_that_never_ends_costs_little() -> None:
    rows = "".join(f"{URL}?{n},{n}\n" for n in range(20_000))
    content = f'url,caption\n{URL},"\n{rows}'.encode()
    options = ReadOptions(fetch=True)
    items = list(read_samples(io.BytesIO(content), options=options, fetch=fetch))
    bad = [each for each in items if isinstance(each, Rejection)]
    assert [each.reason for each in bad] == [Reason.BAD_ROW]
    assert sum(isinstance(each, RawSample) for each in items) > 10_000


def test_limits_and_empty_tables() -> None:
    assert reasons(read(io.BytesIO(CC3M), Limits(max_rows=1), options=FETCH, fetch=fetch)[1]) == [
        (None, Reason.TOO_MANY_ROWS)
    ]
    assert reasons(read(io.BytesIO(b"url,caption\n"), options=FETCH)[1]) == [(None, Reason.NO_SAMPLES)]
    for content in (b"url,url2\n", b"url\n"):
        with pytest.raises(InvalidInputError):
            read(io.BytesIO(content), options=ReadOptions(format=Format.CSV))


@given(st.binary(max_size=300), st.sampled_from([Format.CSV, Format.TSV]))
def test_no_bytes_raise_anything_else(tail: bytes, format: Format) -> None:
    head = b"url\tcaption\n" if format is Format.TSV else b"url,caption\n"
    options = ReadOptions(format=format, fetch=True)
    items = list(read_samples(io.BytesIO(head + tail), options=options, fetch=fetch))
    assert all(isinstance(each, RawSample | Rejection) for each in items)
