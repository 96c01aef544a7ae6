"""Delimited text of many hands."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.text.delimited import LONGEST_ROW, Dialect, find_dialect, open_delimited


def rows(content: bytes) -> list[list[str]]:
    read = list(open_delimited(io.BytesIO(content)).rows())
    assert [row for row in read if row.problem] == []
    return [row.cells for row in read]


def problems(content: bytes) -> dict[int, str]:
    return {row.line: row.problem for row in open_delimited(io.BytesIO(content)).rows() if row.problem}


def written(table: list[list[str]], **how: Any) -> bytes:
    target = io.StringIO(newline="")
    csv.writer(target, **how).writerows(table)
    return target.getvalue().encode()


TABLE = [
    ["url", "caption"],
    ["u1", 'a "big" dog, sitting'],
    ["u2", "a cat\non two\tlines; yes"],
    ["u3", "x|y"],
]


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_what_writers_of_quoted_cells_write_is_read(separator: str, line_end: str, quoting: Any) -> None:
    content = written(TABLE, delimiter=separator, lineterminator=line_end, quoting=quoting)
    assert rows(content) == TABLE
    assert open_delimited(io.BytesIO(content)).dialect == Dialect(separator=separator, line_end=line_end)


_cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), max_size=12)


@given(
    st.lists(st.tuples(_cell, _cell, _cell), min_size=1, max_size=6),
    st.sampled_from("\t,;|"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_cells_survive_being_quoted(cells: list[tuple[str, ...]], separator: str, line_end: str) -> None:
    table = [["key", "caption", "note"], *map(list, cells)]
    content = written(table, delimiter=separator, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    assert rows(content) == table


def test_quotes_that_quote_nothing_mean_themselves() -> None:
    content = b'url\tcaption\nu1\ta 6" pizza\nu2\t"big" dog\nu3\t"unbalanced\nu4\tother"\nu5\t"hello"\n'
    assert [cells[1] for cells in rows(content)[1:]] == [
        'a 6" pizza', '"big" dog', '"unbalanced', 'other"', '"hello"',
    ]  # fmt: skip
    content = b'file_name,text\n1.jpg,a 6" pizza\n2.jpg,"a dog, sitting"\n3.jpg,"two\nlines"\n'
    assert [cells[1] for cells in rows(content)[1:]] == ['a 6" pizza', "a dog, sitting", "two\nlines"]


def test_a_tsv_of_two_hands__what_could_only_be_quoted_is() -> None:
    content = b'url\tcaption\nu1\ta 6" pizza\nu2\t"a ""big"" dog"\nu3\t"a\tb"\n'
    assert [cells[1] for cells in rows(content)[1:]] == ['a 6" pizza', 'a "big" dog', "a\tb"]


def test_other_ways_to_quote_where_only_they_fit() -> None:
    content = b'url,caption\nu1,"a \\"big\\" dog, sitting"\nu2, "a cat, lying"\nu3,x\n'
    assert [cells[1] for cells in rows(content)[1:]] == ['a "big" dog, sitting', "a cat, lying", "x"]


def test_a_row_of_another_width_is_told_with_its_line_and_the_rest_is_read() -> None:
    content = b'file_name,text\n1.jpg,a dog, sitting\n2.jpg,"two\nlines"\n3.jpg\n4.jpg,a cat\n5.jpg,\n'
    assert problems(content) == {
        2: "3 cells where the header has 2; quote cells that contain a comma",
        5: "1 cell where the header has 2; quote cells that contain a comma",
    }
    table = open_delimited(io.BytesIO(content))
    assert [row.cells[0] for row in table.rows() if not row.problem][1:] == ["2.jpg", "4.jpg", "5.jpg"]


def test_a_quote_that_never_ends_costs_its_own_line() -> None:
    content = b'url,caption\nu1,"\n' + b"".join(b"u%d,x\n" % n for n in range(2, 20_000))
    assert list(problems(content)) == [2]


def test_many_quotes_that_never_end_cost_little() -> None:
    content = b"url,caption\n" + b"".join(b'u%d,"x%d\n' % (n, n) for n in range(20_000))
    assert len(problems(content)) == 20_000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252", "gb18030"])
def test_encodings_of_spreadsheets(encoding: str) -> None:
    said = "一只狗在草地上" if encoding == "gb18030" else "the dog’s café"
    content = f'url;caption\r\nu1;{said}\r\nu2;"a, b; c"\r\n'.encode(encoding)
    assert rows(content) == [["url", "caption"], ["u1", said], ["u2", "a, b; c"]]


def test_excel_states_its_separator_in_a_line_of_its_own() -> None:
    for content in (
        b"sep=;\r\nurl;caption\r\nu1;a, b, c\r\n",
        "sep=;\r\nurl;caption\r\nu1;a, b, c\r\n".encode("utf-16"),
    ):
        table = open_delimited(io.BytesIO(content))
        assert [(row.line, row.cells) for row in table.rows()] == [
            (2, ["url", "caption"]),
            (3, ["u1", "a, b, c"]),
        ]


def test_lines_that_end_in_carriage_returns_alone() -> None:
    assert rows(b'url,caption\ru1,a dog\ru2,"two\rlines"\r') == [
        ["url", "caption"], ["u1", "a dog"], ["u2", "two\rlines"],
    ]  # fmt: skip


def test_very_long_lines_and_nul() -> None:
    long = b"x" * (3 * LONGEST_ROW)
    content = b"url,caption\nu1,a\0 dog\nu2," + long + b"\nu3,a cat\n"
    read = list(open_delimited(io.BytesIO(content)).rows())
    assert [(row.line, row.cells[1:]) for row in read if not row.problem][1:] == [
        (2, ["a dog"]),
        (4, ["a cat"]),
    ]
    assert [row.line for row in read if row.problem] == [3]


def test_ends_of_rows_are_counted_in_bytes() -> None:
    content = 'url,caption\nu1,"ö\nü"\n\nu2,x\n'.encode()
    ends = [row.end for row in open_delimited(io.BytesIO(content)).rows()]
    assert [content[: end or 0].count(b"\n") for end in ends] == [1, 3, 5]


def test_the_dialect_is_said_in_words() -> None:
    dialect = find_dialect(b"url;caption\r\nu;x\r\n", whole=True)
    assert str(dialect) == "separator ';', quoted cells, CRLF, utf-8"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything(tail: bytes) -> None:
    table = open_delimited(io.BytesIO(b"url,caption\n" + tail))
    for row in table.rows():
        assert row.problem or len(row.cells) == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_two_quoted_words_in_a_cell_are_no_quoted_cell(separator: str) -> None:
    table = f'url{separator}caption\nu1{separator}"hello" "world"\nu2{separator}x\n'
    assert rows(table.encode())[1] == ["u1", '"hello" "world"']


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_empty_lines_before_the_header(end: str) -> None:
    table = end.join(["", "", "url;caption", "u1;a, b", "u2;x;y", ""]).encode()
    assert [row.cells for row in open_delimited(io.BytesIO(table)).rows()][:2] == [
        ["url", "caption"],
        ["u1", "a, b"],
    ]
    assert list(problems(table)) == [5]
