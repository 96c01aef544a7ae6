"""Delimited text (CSV, TSV and the like) → rows with their line numbers, never cut or padded.

Separator, quoting, line ends and encoding are detected in the first megabyte and reported (`Dialect`). A cell
that begins and ends with a quote (quotes inside are doubled) is a quoted cell, in TSV as in CSV, as
csv.writer, pandas and spreadsheets write it; it may contain separators and newlines. Any other quote is an
ordinary character: `a 6" pizza`. A row with more or fewer cells than the first row is a problem and is never
adjusted.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO

from cocu.text.encodings import EVIDENCE_TEXTS, Decoder, Tally, decode_text, marked_encoding, needs_guess

SEPARATORS = "\t,;|"
LONGEST_ROW = 1 << 18
"""The maximum length of a row in characters (in bytes, for a line that is too long to be decoded)."""
MAX_COLUMNS = 1_000
SAMPLE_BYTES = 1 << 20
SAMPLE_ROWS = 200

_NAMES = {"\t": "tab", ",": "','", ";": "';'", "|": "'|'"}
_LINE_ENDS = {"\r\n": "CRLF", "\n": "LF", "\r": "CR"}
_STATED_SEPARATOR = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_LOOKAHEAD_BUDGET = 64 * LONGEST_ROW
"""Characters of a table that may be read in vain in search of the end of a quoted cell.

Without this limit a file with a stray quote in every line would take quadratic time.
"""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a table is written.

    quotes: whether every cell in quotes is a quoted cell; if not, quotes are ordinary characters, except in a
    row that has the right number of cells only with quoting. leading: lines before the first row (Excel's
    `sep=;`). encoding: of the byte order mark, else UTF-8, or the encoding of most lines that are not UTF-8.
    """

    separator: str
    quotes: bool = True
    line_end: str = "\n"
    encoding: str = "utf-8"
    leading: int = 0

    def __str__(self) -> str:
        quotes = "quoted cells" if self.quotes else "quotes as they are"
        end = _LINE_ENDS[self.line_end]
        return (
            f"separator {_NAMES.get(self.separator, repr(self.separator))}, {quotes}, {end}, {self.encoding}"
        )

    def width_problem(self, cells: int, width: int, *, header: bool) -> str:
        """The message for a row with another number of cells."""
        name = _NAMES.get(self.separator, repr(self.separator)).strip("'")
        first = "header" if header else "first row"
        separator = _separator_name(name)
        return f"{_cells(cells)} where the {first} has {width}; quote cells that contain a {separator}"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    line: the number of its first line, from 1. end: the offset of its end in the file in bytes, None where
    unknown. problem: why it cannot be used, else ""; a row with a problem has the cells that could be read.
    """

    line: int
    cells: list[str]
    end: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class _Line:
    number: int
    text: str | None
    end: int | None


@dataclass
class DelimitedTable:
    """A table in a seekable binary file, which must stay open; `tally` is updated while rows are read."""

    file: BinaryIO
    dialect: Dialect
    tally: Tally = field(default_factory=Tally)

    def rows(self, *, header: bool = True) -> Iterator[Row]:
        """Every row except empty lines; the first row sets the number of cells of all others.

        header: whether the first row is a header; used in messages only.
        """
        decode = _line_decoder(self.file, self.dialect.encoding, self.tally)
        lines = _numbered(self.file, self.dialect, decode)
        yield from _Reader(self.dialect, islice(lines, self.dialect.leading, None), header=header).rows()


def open_delimited(file: BinaryIO, separators: str = SEPARATORS) -> DelimitedTable:
    """Detect the dialect of a table. Raises ValueError if its first line has none of these separators."""
    file.seek(0)
    head = file.read(SAMPLE_BYTES)
    dialect = find_dialect(head, separators, whole=len(head) < SAMPLE_BYTES)
    if dialect is None:
        names = ", ".join(_NAMES[separator] for separator in separators)
        raise ValueError(f"no separator ({names}) is in its first line, so it is no table of two columns")
    return DelimitedTable(file, dialect)


def find_dialect(head: bytes, separators: str = SEPARATORS, *, whole: bool) -> Dialect | None:
    """The dialect of a table with this beginning, None if it is no table; whole: `head` is the whole file."""
    text, encoding = _decoded_head(head)
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    line_end = "\r\n" if "\r\n" in text else "\n" if "\n" in text or "\r" not in text else "\r"
    stated = _STATED_SEPARATOR.match(text)
    if stated is not None:
        dialect = Dialect(separator=stated[1], line_end=line_end, encoding=encoding, leading=1)
        return _with_quotes(dialect, text)
    text = text.lstrip("\r\n")  # empty lines before the first row; the reader skips them
    first = text.partition("\n" if "\n" in text else "\r")[0]
    best: tuple[float, Dialect] | None = None
    for separator in separators:
        if separator not in first:
            continue
        dialect = _with_quotes(Dialect(separator=separator, line_end=line_end, encoding=encoding), text)
        agreement = _agreement(dialect, text)
        if best is None or agreement > best[0]:
            best = agreement, dialect
    return None if best is None or best[0] == 0 else best[1]


def first_rows(head: bytes, dialect: Dialect, *, whole: bool, count: int = 10) -> list[Row]:
    """The first rows of a table with this beginning, without a row that is cut off at the end of the head."""
    text, _ = _decoded_head(head)
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    return list(islice(_rows_of(dialect, text), count))


def _decoded_head(head: bytes) -> tuple[str, str]:
    marked = marked_encoding(head)
    if marked is not None and marked[0] != "utf-8":
        return head[marked[1] :].decode(marked[0], "replace"), marked[0]
    alone = decode_text(head[: len(head) // 4 * 4] if b"\0" in head else head)
    if alone.encoding.startswith("utf-16"):
        return alone.text, alone.encoding
    if not needs_guess(head):
        return head.decode("utf-8-sig", "replace"), "utf-8"
    lines = [line for line in head.split(b"\n") if needs_guess(line)]
    if not lines:
        return head.decode("utf-8-sig", "replace"), "utf-8"
    encoding = Decoder(lines[:EVIDENCE_TEXTS]).best()
    return head.decode(encoding, "replace"), encoding


def _with_quotes(dialect: Dialect, text: str) -> Dialect:
    """The dialect with `quotes` detected from the cells.

    Cells rarely contain a tab or a bar, so writers of such tables often do not quote at all.
    """
    if dialect.separator not in "\t|":
        return dialect
    reader = _reader_of(dialect, text)
    for _ in reader.rows():
        pass
    return replace(dialect, quotes=reader.literal == 0 and (reader.quoted > 0 or reader.doubtful == 0))


def _agreement(dialect: Dialect, text: str) -> float:
    """The share of rows that have as many cells as the first row."""
    rows = list(islice(_rows_of(dialect, text), SAMPLE_ROWS))
    if not rows or not 1 < len(rows[0].cells) <= MAX_COLUMNS:
        return 0.0
    return sum(not row.problem for row in rows) / len(rows)


def _rows_of(dialect: Dialect, text: str) -> Iterator[Row]:
    return _reader_of(dialect, text).rows()


def _reader_of(dialect: Dialect, text: str) -> _Reader:
    lines = text.splitlines(keepends=True) if dialect.line_end == "\r" else io.StringIO(text, newline="\n")
    numbered = (_Line(number, line, None) for number, line in enumerate(lines, start=1))
    return _Reader(dialect, islice(numbered, dialect.leading, None))


def _numbered(file: BinaryIO, dialect: Dialect, decode: Callable[[bytes], str]) -> Iterator[_Line]:
    if dialect.encoding.startswith(("utf-16", "utf-32")):
        yield from _wide_lines(file, dialect.encoding)
        return
    file.seek(0)
    mark = marked_encoding(file.read(4))
    end = 0 if mark is None else mark[1]
    file.seek(end)
    pieces = (
        _split_at_returns(file) if dialect.line_end == "\r" else iter(lambda: file.readline(LONGEST_ROW), b"")
    )
    # A line longer than LONGEST_ROW comes in several pieces; only its first piece is yielded, without text.
    number, whole = 0, True
    for raw in pieces:
        end += len(raw)
        begins, whole = whole, raw.endswith((b"\n", b"\r")) or len(raw) < LONGEST_ROW
        number += begins
        if begins:
            yield _Line(number, decode(raw) if whole else None, end)


def _split_at_returns(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while piece := file.read(LONGEST_ROW):
        *lines, rest = (rest + piece).split(b"\r")
        yield from (line + b"\r" for line in lines)
        while len(rest) >= LONGEST_ROW:
            yield rest[:LONGEST_ROW]
            rest = rest[LONGEST_ROW:]
    if rest:
        yield rest


def _wide_lines(file: BinaryIO, encoding: str) -> Iterator[_Line]:
    file.seek(0)
    mark = marked_encoding(file.read(4))
    file.seek(0 if mark is None else mark[1])
    wrapper = io.TextIOWrapper(file, encoding, errors="replace", newline="\n")
    try:
        number, whole = 0, True
        while text := wrapper.readline(LONGEST_ROW):
            begins, whole = whole, text.endswith("\n") or len(text) < LONGEST_ROW
            number += begins
            if begins:
                yield _Line(number, text.replace("\0", "") if whole else None, None)
    finally:
        wrapper.detach()


def _line_decoder(file: BinaryIO, encoding: str, tally: Tally) -> Callable[[bytes], str]:
    """A decoder of lines: they are UTF-8 or in the table's encoding; any other line is guessed by itself."""
    if encoding.startswith(("utf-16", "utf-32")):
        return lambda raw: raw.decode(encoding, "replace")
    file.seek(0)
    doubtful = (raw for raw in iter(lambda: file.readline(LONGEST_ROW), b"") if needs_guess(raw))
    decoder = Decoder(islice(doubtful, EVIDENCE_TEXTS))
    usual = decoder.best() if decoder.has_evidence else None

    def decode(raw: bytes) -> str:
        return tally.text(decoder.decode(raw, usual=usual)).replace("\0", "")

    return decode


class _Reader:
    """Rows from lines; lines that were read for a quoted cell that never ends are read again as rows."""

    def __init__(self, dialect: Dialect, lines: Iterator[_Line], *, header: bool = True) -> None:
        self._dialect = dialect
        self._header = header
        self._lines = lines
        self._returned: deque[_Line] = deque()
        self._lookahead = 0
        self._width: int | None = None
        self.literal = 0
        """Rows with a quote that a writer of quoted cells would have doubled or quoted."""
        self.quoted = 0
        """Rows that only a writer of quoted cells can have written."""
        self.doubtful = 0
        """Rows of several lines, each of which could also be a row with ordinary quotes."""

    def rows(self) -> Iterator[Row]:
        while (line := self._next()) is not None:
            if line.text is None:
                yield Row(line.number, [], line.end, f"longer than {LONGEST_ROW} bytes")
            elif line.text.strip("\r\n"):
                row = self._row(line, line.text)
                if self._width is None and not row.problem:
                    self._width = len(row.cells)
                yield row

    def _next(self) -> _Line | None:
        return self._returned.popleft() if self._returned else next(self._lines, None)

    def _row(self, line: _Line, text: str) -> Row:
        bare = text.rstrip("\r\n")
        literal = bare.split(self._dialect.separator)
        if '"' not in bare:
            return self._checked(line, literal)
        if not self._dialect.quotes:
            return self._checked(line, self._with_needed_quotes(bare, literal))
        row = self._quoted(line)
        if row is not None:
            return row
        escaped: list[dict[str, Any]] = [{"escapechar": "\\", "doublequote": False}] if '\\"' in bare else []
        for options in (*escaped, {"skipinitialspace": True}):
            cells = _parsed(bare, self._dialect.separator, **options)
            if cells is not None and len(cells) == self._width:
                return self._checked(line, cells)
        self.literal += 1
        return self._checked(line, literal, unclosed=self._unclosed(bare))

    def _checked(self, line: _Line, cells: list[str], *, unclosed: bool = False) -> Row:
        width = self._width
        if unclosed and (self._dialect.separator in ",;" or width not in (None, len(cells))):
            return Row(
                line.number, cells, line.end, "a quote is opened and not closed; double quotes in cells"
            )
        if width is not None and len(cells) != width:
            problem = self._dialect.width_problem(len(cells), width, header=self._header)
            return Row(line.number, cells, line.end, problem)
        return Row(line.number, cells, line.end)

    def _with_needed_quotes(self, bare: str, literal: list[str]) -> list[str]:
        """Cells with ordinary quotes, except where only quoting gives the right number of cells."""
        cells = _parsed(bare, self._dialect.separator)
        if cells is None or len(cells) != (self._width or len(literal)):
            return literal
        if len(literal) != len(cells):
            return cells
        return [quoted if '""' in raw[1:-1] else raw for raw, quoted in zip(literal, cells, strict=True)]

    def _quoted(self, line: _Line) -> Row | None:
        """The row by the rules of quoting, over several lines if necessary; None if it breaks them."""
        taken = [line]
        budget = LONGEST_ROW if self._lookahead < _LOOKAHEAD_BUDGET else 0

        def lines() -> Iterator[str]:
            size = len(line.text or "")
            yield line.text or ""
            while size < budget and (extra := self._next()) is not None:
                taken.append(extra)
                if extra.text is None:
                    return
                size += len(extra.text)
                yield extra.text

        try:
            cells = next(csv.reader(lines(), delimiter=self._dialect.separator, strict=True), None)
        except csv.Error as error:
            cells = None
            if "field larger" in str(error) and len(taken) == 1:
                return Row(line.number, [], line.end, str(error))
        if cells is not None and self._width in (None, len(cells)):
            self._count(taken, cells)
            return Row(line.number, cells, taken[-1].end)
        self._lookahead += sum(len(extra.text or "") for extra in taken[1:])
        # Not a quoted cell: the extra lines are rows of their own.
        self._returned.extendleft(reversed(taken[1:]))
        return None

    def _count(self, taken: list[_Line], cells: list[str]) -> None:
        """Count what a row says about the use of quotes."""
        lines = [(line.text or "").rstrip("\r\n").split(self._dialect.separator) for line in taken]
        first = lines[0]
        if len(taken) > 1 and all(len(line) == len(cells) for line in lines):
            self.doubtful += 1
        elif len(taken) > 1 or len(first) != len(cells):
            self.quoted += 1
        elif any('"' in cell and not cell.startswith('"') for cell in first):
            self.literal += 1
        elif all(cell.startswith('"') for cell in first) or any('""' in cell[1:-1] for cell in first):
            self.quoted += 1

    def _unclosed(self, bare: str) -> bool:
        try:
            next(csv.reader([bare], delimiter=self._dialect.separator, strict=True), None)
        except csv.Error as error:
            return "unexpected end" in str(error)
        return False


def _parsed(line: str, separator: str, **options: Any) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True, **options), None)
    except csv.Error:
        return None


def _cells(number: int) -> str:
    return f"{number} cell" if number == 1 else f"{number} cells"


def _separator_name(name: str) -> str:
    return {",": "comma", ";": "semicolon", "|": "bar"}.get(name, name)
