"""Delimited tables with a URL and a caption in every row, as CC3M, CC12M and their kin are given.

A first row that names a column of URLs is a header; without one, the column of URLs is seen by what is in it,
so that caption⇥url (CC3M) and url⇥caption (CC12M) are both read right. How a table is written is found by
`cocu.text.delimited`; a row with another number of cells is rejected with its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import BinaryIO

from cocu.errors import InvalidInputError
from cocu.formats.captions import BadCaption, clean_caption
from cocu.formats.columns import (
    CAPTION,
    KEY,
    PATH,
    URL,
    Columns,
    is_header,
    looks_like_path,
    looks_like_url,
    pick,
)
from cocu.formats.limits import Limits
from cocu.formats.metadata import row_metadata
from cocu.formats.notes import Notes
from cocu.formats.options import ReadOptions
from cocu.formats.readers import HEAD_BYTES, LOCAL_PATHS, Reader
from cocu.formats.records import UrlText, content_key, row_key
from cocu.formats.rejections import Reason, Rejection
from cocu.text.columns import find_column, find_duplicate, unique_names
from cocu.text.delimited import (
    MAX_COLUMNS,
    DelimitedTable,
    Row,
    find_dialect,
    first_rows,
    open_delimited,
)


@dataclass(frozen=True)
class LinkTable:
    """An opened table. names: of its columns, from 0 on without a header, all different."""

    table: DelimitedTable
    header: bool
    names: tuple[str, ...]
    columns: Columns
    notes: Notes


def open_links(file: BinaryIO, separators: str, options: ReadOptions, notes: Notes) -> LinkTable:
    """Read the first rows. Raises InvalidInputError where they show no URLs and captions."""
    try:
        table = open_delimited(file, separators)
    except ValueError as error:
        raise InvalidInputError(f"a table of URLs and captions is needed: {error}") from error
    rows = [row.cells for row in islice(table.rows(), 10) if not row.problem]
    if not rows or not 1 < len(rows[0]) <= MAX_COLUMNS:
        raise InvalidInputError(
            f"the first line must name or hold two columns or more: a URL and a caption ({table.dialect})"
        )
    requested = options.columns
    first, *others = rows
    header = is_header(first, others[0] if others else None, requested.url, requested.caption, requested.key)
    names = unique_names(first) if header else [str(number) for number in range(len(first))]
    data = others if header else rows
    url = _url_column(first if header else [], names, data, requested)
    caption = pick(names, CAPTION, requested.caption)
    if caption is None and not header and len(names) == 2:
        caption = names[1] if url == names[0] else names[0]
    if url is None or caption is None or url == caption:
        raise InvalidInputError(_what_lacks(names, data, url, table))
    columns = Columns(key=pick(names, KEY, requested.key), url=url, caption=caption)
    if header and (name := find_duplicate(first, list(columns.stated().values()))) is not None:
        raise InvalidInputError(f"two columns are called {name!r}; rename one of them")
    notes.table(table.dialect)
    fresh = DelimitedTable(file, table.dialect, notes.tally)
    return LinkTable(fresh, header, tuple(names), columns, notes)


def links(table: LinkTable, limits: Limits, options: ReadOptions) -> Iterator[UrlText | Rejection]:
    """Yield a link for each row, or a rejection where the row has no usable URL or caption."""
    if not options.fetch:
        detail = (
            f"the table ({table.table.dialect}) has URLs but no images; ask for fetching with fetch=true "
            "(on the command line: --fetch)"
        )
        yield Rejection(None, "", Reason.FETCH_NOT_ASKED, detail)
        return
    number = 0
    for row in islice(table.table.rows(header=table.header), int(table.header), None):
        number += 1
        if number > limits.max_rows:
            yield Rejection(
                None,
                "",
                Reason.TOO_MANY_ROWS,
                f"more than {limits.max_rows} rows; send the rest in other files",
            )
            return
        if row.problem:
            yield Rejection(None, f"line {row.line}", Reason.BAD_ROW, row.problem)
        elif any(row.cells):
            yield _link(table, row, limits)
    if number == 0:
        yield Rejection(None, "", Reason.NO_SAMPLES, "the table has no rows")


def _url_column(header: list[str], names: list[str], data: list[list[str]], requested: Columns) -> str | None:
    named = pick(names, URL, requested.url) if header or requested.url is not None else None
    if named is not None:
        return named
    filled = [
        name
        for at, name in enumerate(names)
        if data and all(looks_like_url(row[at]) for row in data if any(row))
    ]
    return filled[0] if len(filled) == 1 else None


def _what_lacks(names: list[str], data: list[list[str]], url: str | None, table: DelimitedTable) -> str:
    paths = any(looks_like_path(cell) for row in data[:1] for cell in row) or pick(names, PATH, None)
    if url is None and paths:
        return LOCAL_PATHS
    lacking = "URLs" if url is None else "captions"
    return (
        f"no column of {lacking} is known among {names[:30]} ({table.dialect}); "
        "name both in the options (their numbers, from 0 on, where there is no header)"
    )


def _link(table: LinkTable, row: Row, limits: Limits) -> UrlText | Rejection:
    member = f"line {row.line}"
    cells = dict(zip(table.names, row.cells, strict=True))
    columns = table.columns
    url = cells.pop(columns.url or "", "").strip()
    caption = clean_caption(cells.pop(columns.caption or "", ""), limits=limits)
    key: str | Rejection
    if columns.key is not None:
        key = row_key(cells.pop(columns.key, ""), member, limits)
    else:
        key = content_key(url, caption if isinstance(caption, str) else "")
    if isinstance(key, Rejection):
        return key
    if not looks_like_url(url):
        return Rejection(key, member, Reason.BAD_ROW, f"{url[:100]!r} is no http(s) URL")
    if isinstance(caption, BadCaption):
        return Rejection(key, member, caption.reason, caption.detail)
    return UrlText(key, url, caption, row_metadata({"url": url} | cells, limits))


def _matches(head: bytes, requested: Columns, *, separators: str) -> bool:
    """Whether it is a delimited text whose first rows name or hold URLs."""
    whole = len(head) < HEAD_BYTES
    dialect = find_dialect(head, whole=whole)
    if dialect is None or dialect.separator not in separators:
        return False
    if b"\0" in head and not dialect.encoding.startswith("utf-16"):
        return False
    rows = [row.cells for row in first_rows(head, dialect, whole=whole) if not row.problem]
    if not rows:
        return False
    named = any(name in rows[0] for name in (requested.url, requested.caption, requested.key))
    known = named or find_column(rows[0], URL) is not None
    return known or any(looks_like_url(cell) for row in rows for cell in row)


def _open(
    file: BinaryIO, *, separators: str, limits: Limits, options: ReadOptions, notes: Notes
) -> tuple[Columns, Iterator[UrlText | Rejection]]:
    table = open_links(file, separators, options, notes)
    return table.columns, links(table, limits, options)


READERS = {
    name: Reader(partial(_matches, separators=separators), partial(_open, separators=separators))
    for name, separators in (("csv", ",;|"), ("tsv", "\t"))
}
