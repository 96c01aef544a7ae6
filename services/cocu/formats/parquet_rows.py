"""Parquet that strangers wrote, a row at a time and counted.

Arrow then decodes page by page, and a value that a dictionary repeats a million times is in memory once. So
memory holds a page of every column that is read (they are as large as the writer made them) and one row, and
what rows unpack to is counted against the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from cocu import machine
from cocu.errors import InvalidInputError
from cocu.formats.archive import ArchiveEndsError
from cocu.formats.limits import UNSUSPICIOUS, Limits
from cocu.formats.parquet_cells import size_of
from cocu.formats.parquet_pages import check_pages
from cocu.formats.rejections import Reason, printable

ARROW_ERRORS = (pa.ArrowException, OSError, ValueError)

_MOST_COLUMNS = 1_000
_DEEPEST_SCHEMA = 16
_BUFFER = 1 << 20
_MARK = b"PAR1"
"""First and last bytes of a Parquet file."""
_LONGEST_INDEX = 16 << 20
"""Bytes of indexes that may lie between the rows and the footer."""


def open_table(file: BinaryIO) -> pq.ParquetFile:
    """Read schema and footer.

    Raises InvalidInputError for a damaged file, too many columns, or several files one after the other.
    """
    try:
        opened = pq.ParquetFile(
            file,
            buffer_size=_BUFFER,
            pre_buffer=False,
            schema_depth_limit=_DEEPEST_SCHEMA,
            arrow_extensions_enabled=False,
        )
        schema = opened.schema_arrow
        other = _end_of_another(opened.metadata, file)
    except ARROW_ERRORS as error:
        machine.raise_machine_error(error, "read a table")
        raise InvalidInputError(f"this Parquet file cannot be opened: {printable(str(error))}") from error
    if len(schema) > _MOST_COLUMNS:
        raise InvalidInputError(f"{len(schema)} columns; at most {_MOST_COLUMNS} are read")
    if other:
        raise InvalidInputError(
            f"these are several Parquet files one after the other (one ends at byte {other}), and the places "
            "that the last one states are not those of its rows; send each by itself"
        )
    return opened


def _end_of_another(metadata: pq.FileMetaData, file: BinaryIO) -> int:
    """Where a Parquet file before this one in the same file ends, 0 if there is none.

    The footer counts from the beginning of its own file, so what lies between the rows, as it states them,
    and itself is too long by the other file.
    """
    ends = [0]
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            start = column.data_page_offset
            if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
                start = column.dictionary_page_offset
            ends.append(start + column.total_compressed_size)
    footer = file.seek(0, 2) - metadata.serialized_size - 2 * len(_MARK)
    gap = min(footer - max(ends), footer)
    if gap < len(_MARK):
        return 0
    start = max(0, gap - _LONGEST_INDEX)
    file.seek(start)
    joint = file.read(gap + len(_MARK) - start).rfind(2 * _MARK)
    return 0 if joint < 0 else start + joint + len(_MARK)


class CountedRows:
    """The rows of some columns; iterated once.

    number: of rows so far. source: the file that was opened. size: its bytes.
    """

    def __init__(
        self, file: pq.ParquetFile, leaves: Sequence[str], *, source: BinaryIO, size: int, limits: Limits
    ) -> None:
        self.number = 0
        self._file = file
        self._leaves = list(leaves)
        self._source = source
        self._limits = limits
        self._used = 0
        self._allowed = max(UNSUSPICIOUS, int(limits.max_compression_ratio * size))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yields batches of one row. Raises ArchiveEndsError beyond a limit, ARROW_ERRORS where damaged."""
        for group in range(self._file.num_row_groups):
            self._check_group(group)
            for batch in self._file.iter_batches(1, [group], self._leaves, use_threads=False):
                self._count(batch)
                yield batch

    def _check_group(self, group: int) -> None:
        """Refuses a row group whose pages would unpack to too much."""
        metadata = self._file.metadata.row_group(group)
        for index in range(metadata.num_columns):
            column = metadata.column(index)
            if any(f"{column.path_in_schema}.".startswith(f"{leaf}.") for leaf in self._leaves):
                check_pages(self._source, column, self._limits)

    def _count(self, batch: pa.RecordBatch) -> None:
        limits = self._limits
        self.number += 1
        self._used += sum(size_of(batch.column(index)[0]) for index in range(batch.num_columns))
        if self.number > limits.max_rows:
            raise ArchiveEndsError(
                Reason.TOO_MANY_ROWS,
                f"{self._file.metadata.num_rows} rows; {limits.max_rows} are read of a file, send others "
                "for the rest",
            )
        if self._used > limits.max_decompressed_bytes:
            detail = f"more than {limits.max_decompressed_bytes} bytes"
            raise ArchiveEndsError(Reason.DECOMPRESSED_TOO_LARGE, detail)
        if self._used > self._allowed:
            detail = f"more than {limits.max_compression_ratio:g} times its size"
            raise ArchiveEndsError(Reason.COMPRESSION_RATIO, detail)
