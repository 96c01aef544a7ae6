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

from cocu.datasets.limits import Limits
from cocu.datasets.members import ArchiveEndsError
from cocu.datasets.parquet_cells import size_of
from cocu.datasets.parquet_pages import check_pages
from cocu.datasets.rejections import Reason, printable
from cocu.datasets.tars import UNSUSPICIOUS
from cocu.errors import InvalidInputError

ARROW_ERRORS = (pa.ArrowException, OSError, ValueError)

_MOST_COLUMNS = 1_000
_DEEPEST_SCHEMA = 16
_BUFFER = 1 << 20


def open_table(file: BinaryIO) -> pq.ParquetFile:
    """Read schema and footer. Raises InvalidInputError for a damaged file or too many columns."""
    try:
        opened = pq.ParquetFile(
            file,
            buffer_size=_BUFFER,
            pre_buffer=False,
            schema_depth_limit=_DEEPEST_SCHEMA,
            arrow_extensions_enabled=False,
        )
        schema = opened.schema_arrow
    except ARROW_ERRORS as error:
        raise InvalidInputError(f"this Parquet file cannot be opened: {printable(str(error))}") from error
    if len(schema) > _MOST_COLUMNS:
        raise InvalidInputError(f"{len(schema)} columns; at most {_MOST_COLUMNS} are read")
    return opened


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
                Reason.TOO_MANY_ROWS, f"more than {limits.max_rows} rows; send the rest in other files"
            )
        if self._used > limits.max_decompressed_bytes:
            detail = f"more than {limits.max_decompressed_bytes} bytes"
            raise ArchiveEndsError(Reason.DECOMPRESSED_TOO_LARGE, detail)
        if self._used > self._allowed:
            detail = f"more than {limits.max_compression_ratio:g} times its size"
            raise ArchiveEndsError(Reason.COMPRESSION_RATIO, detail)
