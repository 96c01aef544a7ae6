"""A long CSV or TSV in parts: each with the header, cut between rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROWS_PER_PART = 100_000
COPIED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Span:
    """Rows of a table: its header (bytes 0 to `header`), then the bytes from start to stop."""

    header: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.header + self.stop - self.start

    def copy(self, table: Path, target: Path) -> None:
        """Write header and rows as a table of their own."""
        with table.open("rb") as source, target.open("wb") as written:
            for start, stop in ((0, self.header), (self.start, self.stop)):
                source.seek(start)
                while piece := source.read(min(stop - source.tell(), COPIED_AT_ONCE)):
                    written.write(piece)


def spans(table: Path) -> list[Span]:
    """The parts of a table of at most ROWS_PER_PART rows; a first line without a URL is the header."""
    with table.open("rb") as file:
        first = file.readline().lower()
    header = 0 if b"http://" in first or b"https://" in first else len(first)
    cuts = [header]
    end = header
    for number, end in enumerate(_row_ends(table, header), start=1):
        if number % ROWS_PER_PART == 0:
            cuts.append(end)
    if cuts[-1] < end or len(cuts) == 1:
        cuts.append(end)
    return [Span(header, start, stop) for start, stop in pairwise(cuts)]


def _row_ends(table: Path, header: int) -> Iterator[int]:
    """Where each row after the header ends: in CSV a quoted cell may hold newlines."""
    at = header

    def lines() -> Iterator[str]:
        nonlocal at
        with table.open("rb") as file:
            file.seek(header)
            for line in file:
                at += len(line)
                yield line.decode("utf-8", "replace")

    rows = csv.reader(lines()) if table.suffix.lower() == ".csv" else lines()
    while True:
        try:
            if next(rows, None) is None:
                return
        except csv.Error:  # a row that is none; the platform reports it
            pass
        yield at
