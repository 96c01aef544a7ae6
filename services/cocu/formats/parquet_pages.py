"""What the pages of a Parquet file say of themselves, before Arrow believes them.

Arrow makes room for a page as large as its header states, and the sizes in the footer, which Arrow shows,
need not be those. So the headers (Thrift's compact protocol; PageHeader in parquet.thrift) are read here
first, without what lies between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from cocu.formats.archive import ArchiveEndsError
from cocu.formats.limits import UNSUSPICIOUS, Limits
from cocu.formats.rejections import Reason

_USUAL_HEADER = 1 << 12
_LONGEST_HEADER = 1 << 20
_DEEPEST = 8
_MOST_VALUES = 1 << 24
"""Values in one page: of a list column a single row can claim them all."""

_MOST_PAGES = 1 << 20

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
_WIDTHS = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
_WIDTHS_IN_LISTS = _WIDTHS | {_TRUE: 1, _FALSE: 1}
_DATA_PAGE_HEADERS = (5, 8)


@dataclass(frozen=True)
class Page:
    """A page's header: sizes in bytes; values 0 for a dictionary."""

    uncompressed: int
    compressed: int
    values: int


def check_pages(file: BinaryIO, column: Any, limits: Limits) -> None:
    """Raises ArchiveEndsError for a column chunk with a page that Arrow should not be asked to unpack.

    column: pyarrow's ColumnChunkMetaData. Leaves the file's position anywhere.
    """
    for page in _pages(file, column):
        if page.uncompressed > limits.max_page_bytes or page.values > _MOST_VALUES:
            detail = f"a page of {page.uncompressed} bytes and {page.values} values"
            raise ArchiveEndsError(Reason.DECOMPRESSED_TOO_LARGE, detail)
        if page.uncompressed > max(UNSUSPICIOUS, limits.max_compression_ratio * page.compressed):
            detail = f"a page that unpacks to more than {limits.max_compression_ratio:g} times its size"
            raise ArchiveEndsError(Reason.COMPRESSION_RATIO, detail)


def _pages(file: BinaryIO, column: Any) -> Iterator[Page]:
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    at, end, values = start, start + column.total_compressed_size, 0
    for _ in range(_MOST_PAGES):
        if at >= end or values >= column.num_values:
            return
        page, size = _header(file, at)
        yield page
        at += size + page.compressed
        values += page.values
    raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"more than {_MOST_PAGES} pages in one column")


def _header(file: BinaryIO, at: int) -> tuple[Page, int]:
    """The header at a position of the file, and how many bytes it takes."""
    for length in (_USUAL_HEADER, _LONGEST_HEADER):
        file.seek(at)
        scanner = _Compact(file.read(length))
        try:
            fields = scanner.struct()
        except IndexError:
            continue
        page = Page(_size(fields.get(2)), _size(fields.get(3)), _values(fields))
        return page, scanner.at
    raise _damaged(at)


def _values(fields: dict[int, Any]) -> int:
    for number in _DATA_PAGE_HEADERS:
        if isinstance(fields.get(number), dict):
            return _size(fields[number].get(1))
    return 0


def _size(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, "the header of a page states no sizes")
    return value


def _damaged(at: int) -> ArchiveEndsError:
    return ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"no header of a page at byte {at}")


class _Compact:
    """Reads Thrift's compact protocol; keeps numbers and structs. Raises IndexError where the bytes end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a struct by number."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 0x0F, depth + 1)
        return fields

    def _value(self, kind: int, depth: int, widths: Mapping[int, int] = _WIDTHS) -> Any:
        if depth > _DEEPEST:
            raise _damaged(self.at)
        if kind == _STRUCT:
            return self.struct(depth)
        if kind in _INTEGERS:
            return self._zigzag()
        if kind in widths:
            return self._skip(widths[kind])
        if kind == _BINARY:
            return self._skip(self._varint())
        return self._container(kind, depth)

    def _container(self, kind: int, depth: int) -> None:
        if kind in (_LIST, _SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            self._elements(count, (head & 0x0F,), depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._elements(count, (kinds >> 4, kinds & 0x0F), depth)
        else:
            raise _damaged(self.at)

    def _elements(self, count: int, kinds: tuple[int, ...], depth: int) -> None:
        for _ in range(count):
            for kind in kinds:
                self._value(kind, depth + 1, _WIDTHS_IN_LISTS)

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError(self.at)

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise _damaged(self.at)

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
