"""CSV and TSV with a URL and a caption in every row, as CC3M, CC12M and their kin are given.

TSV is cut at tabs and nothing else: quotes in captions mean themselves. CSV follows the usual quoting. A
first line that names a column of URLs is a header; without one, the column of URLs is seen by what is in it,
so that caption⇥url (CC3M) and url⇥caption (CC12M) are both read right.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cocu.datasets.captions import BadCaption, clean_caption
from cocu.datasets.columns import CAPTION, KEY, URL, Columns, has_header, looks_like_url, pick
from cocu.datasets.formats import Format
from cocu.datasets.limits import Limits
from cocu.datasets.metadata import row_metadata
from cocu.datasets.options import ReadOptions
from cocu.datasets.pairs import Link, content_key, row_key
from cocu.datasets.rejections import Reason, Rejection
from cocu.errors import InvalidInputError

_LONGEST_LINE = 1 << 18
_MOST_COLUMNS = 1_000


@dataclass(frozen=True)
class SeparatedTable:
    """An opened CSV or TSV. names: of its columns, from 0 on without a header."""

    file: BinaryIO
    format: Format
    header: bool
    names: tuple[str, ...]
    columns: Columns


def open_separated(file: BinaryIO, format: Format, options: ReadOptions) -> SeparatedTable:
    """Read the first line. Raises InvalidInputError where it shows no URLs and captions."""
    first = next(_rows(file, format), None)
    if not isinstance(first, list) or not 1 < len(first) <= _MOST_COLUMNS:
        raise InvalidInputError("the first line must name or hold two columns or more: a URL and a caption")
    header = has_header(first, options.columns)
    names = first if header else [str(number) for number in range(len(first))]
    url = pick(names, URL, options.columns.url) or _column_of_urls(names, first)
    caption = pick(names, CAPTION, options.columns.caption)
    if caption is None and not header and len(names) == 2:
        caption = names[1] if url == names[0] else names[0]
    if url is None or caption is None or url == caption:
        raise InvalidInputError(
            f"no column of {'URLs' if url is None else 'captions'} is known among {names[:30]}; "
            "name both in the options (their numbers, from 0 on, where there is no header)"
        )
    columns = Columns(key=pick(names, KEY, options.columns.key), url=url, caption=caption)
    return SeparatedTable(file, format, header, tuple(names), columns)


def separated_links(
    table: SeparatedTable, limits: Limits, options: ReadOptions
) -> Iterator[Link | Rejection]:
    """Yield a link for every row, and a rejection for rows that are none."""
    if not options.fetch:
        detail = "the table has URLs but no images; ask for fetching with fetch=true"
        yield Rejection(None, "", Reason.FETCH_NOT_ASKED, detail)
        return
    number = 0
    for line, cells in enumerate(_rows(table.file, table.format)):
        if line == 0 and table.header:
            continue
        number += 1
        if number > limits.max_rows:
            yield Rejection(
                None,
                "",
                Reason.TOO_MANY_ROWS,
                f"more than {limits.max_rows} rows; send the rest in other files",
            )
            return
        member = f"row {number - 1}"
        if isinstance(cells, str):
            yield Rejection(None, member, Reason.BAD_ROW, cells)
        elif any(cells):
            yield _link(table, cells, member, limits)
    if number == 0:
        yield Rejection(None, "", Reason.NO_SAMPLES, "the table has no rows")


def _link(table: SeparatedTable, cells: list[str], member: str, limits: Limits) -> Link | Rejection:
    row = dict(zip(table.names, _fitted(table, cells), strict=False))
    columns = table.columns
    url = row.pop(columns.url or "", "").strip()
    caption = clean_caption(row.pop(columns.caption or "", ""), limits=limits)
    key: str | Rejection
    if columns.key is not None:
        key = row_key(row.pop(columns.key, ""), member, limits)
    else:
        key = content_key(url, caption if isinstance(caption, str) else "")
    if isinstance(key, Rejection):
        return key
    if not looks_like_url(url):
        return Rejection(key, member, Reason.BAD_ROW, f"{url[:100]!r} is no http(s) URL")
    if isinstance(caption, BadCaption):
        return Rejection(key, member, caption.reason, caption.detail)
    return Link(key, url, caption, row_metadata({"url": url} | row, limits))


def _fitted(table: SeparatedTable, cells: list[str]) -> list[str]:
    """The cells of a TSV row that has too many: its caption holds tabs."""
    extra = len(cells) - len(table.names)
    if extra <= 0 or table.format is not Format.TSV:
        return cells
    at = table.names.index(table.columns.caption or "")
    return [*cells[:at], "\t".join(cells[at : at + extra + 1]), *cells[at + extra + 1 :]]


def _column_of_urls(names: list[str], first: list[str]) -> str | None:
    found = [name for name, cell in zip(names, first, strict=True) if looks_like_url(cell)]
    return found[0] if len(found) == 1 else None


def _rows(file: BinaryIO, format: Format) -> Iterator[list[str] | str]:
    """The cells of every row, or what is wrong with it."""
    file.seek(0)
    lines = _lines(file)
    if format is Format.TSV:
        for line in lines:
            yield f"longer than {_LONGEST_LINE} bytes" if line is None else line.rstrip("\r\n").split("\t")
        return
    # A line that is too long becomes a NUL, which no decoded line holds, so that the row says so.
    reader = csv.reader("\0\n" if line is None else line for line in lines)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield f"line {reader.line_num}: {error}"
            continue
        if cells is None:
            return
        yield f"longer than {_LONGEST_LINE} bytes" if cells == ["\0"] else cells


def _lines(file: BinaryIO) -> Iterator[str | None]:
    """The lines of a text with their ends, None for one that is too long."""
    first = True
    while raw := file.readline(_LONGEST_LINE):
        whole = raw.endswith(b"\n") or len(raw) < _LONGEST_LINE
        while not whole:
            rest = file.readline(_LONGEST_LINE)
            whole = rest.endswith(b"\n") or len(rest) < _LONGEST_LINE
            raw = b""
        text = raw.decode("utf-8-sig" if first else "utf-8", "replace").replace("\0", "")
        yield text if raw else None
        first = False
