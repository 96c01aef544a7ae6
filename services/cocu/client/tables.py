"""Parts of a long CSV or TSV: each has the header and is cut between rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cocu.text.columns import looks_like_url
from cocu.text.delimited import open_delimited

ROWS_PER_PART = 100_000
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Span:
    """Some rows of a table: its header (bytes 0 to `header`), then the bytes from start to stop."""

    header: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The bytes of header and rows."""
        return self.header + self.stop - self.start

    def copy(self, table: Path, target: Path) -> None:
        """Write the header and these rows to another file."""
        with table.open("rb") as source, target.open("wb") as destination:
            for start, stop in ((0, self.header), (self.start, self.stop)):
                source.seek(start)
                while piece := source.read(min(stop - source.tell(), PIECE_BYTES)):
                    destination.write(piece)


def spans(table: Path) -> list[Span]:
    """The parts of a table, each of at most ROWS_PER_PART rows; a first row without a URL is the header.

    A file that is no table, or whose rows cannot be located by bytes (UTF-16), is a single part.
    """
    size = table.stat().st_size
    with table.open("rb") as file:
        try:
            rows = open_delimited(file).rows()
        except ValueError:
            return [Span(0, 0, size)]
        first = next(rows, None)
        if first is None or first.end is None:
            return [Span(0, 0, size)]
        header = 0 if any(map(looks_like_url, first.cells)) else first.end
        cuts = [header]
        number = int(header == 0)
        last = first.end
        for row in rows:
            if number and number % ROWS_PER_PART == 0:
                cuts.append(last)
            number += 1
            assert row.end is not None
            last = row.end
        if cuts[-1] < size or len(cuts) == 1:
            cuts.append(size)
    return [Span(header, start, stop) for start, stop in pairwise(cuts)]
