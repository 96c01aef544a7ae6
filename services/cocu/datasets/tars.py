"""Tar archives, plain or compressed, member by member.

A reader of our own instead of the standard library's, because that one ends silently at a damaged header or a
missing end, keeps every header in memory, reads extended headers of any size and recurses over chains of
them. Formats: POSIX ustar and pax, GNU long names, and the old one without a magic number.
"""

from __future__ import annotations

import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

import pyarrow as pa

from cocu.datasets.limits import Limits
from cocu.datasets.members import ArchiveEndsError, Member, Members, check_name
from cocu.datasets.rejections import Reason, Rejection

BLOCK = 512
_EMPTY_BLOCK = bytes(BLOCK)
_PIECE = 1 << 20
_LONGEST_EXTENDED_HEADER = 1 << 20
UNSUSPICIOUS = 16 << 20
"""Decompressed bytes up to which any ratio is fine: an archive of tiny files is mostly padding."""

_REGULAR = (b"0", b"\0", b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe"}


class Compression(Enum):
    """How a tar may be compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTANDARD = "zstandard"


def tar_members(file: BinaryIO, limits: Limits, *, compression: Compression = Compression.NONE) -> Members:
    """Yield the regular files of a tar, and a rejection for everything else but folders.

    Raises ArchiveEndsError where the archive is cut off, damaged or beyond a limit.
    """
    file.seek(0)
    stream = _STREAMS[compression](file, limits)
    extended = _Extended()
    for _ in range(limits.max_entries):
        header = _next_header(stream)
        if header is None:
            return
        if header.kind in (b"L", b"K", b"x", b"g"):
            extended = extended.updated(header, stream)
            continue
        if header.kind == b"S":
            _skip_sparse_headers(header.block, stream)
        end = stream.position + _padded(_data_size(header, extended))
        yield from _member(header, extended, stream, limits)
        stream.skip(end - stream.position)
        extended = _Extended()
    if _next_header(stream) is not None:
        raise ArchiveEndsError(Reason.TOO_MANY_ENTRIES, f"more than {limits.max_entries} entries")


def is_tar(head: bytes) -> bool:
    """Whether bytes (at least 512) begin a tar: with a header whose checksum is right, or with its end."""
    block = head[:BLOCK]
    return len(block) == BLOCK and (block == _EMPTY_BLOCK or _checksum_holds(block))


def _member(header: _Header, extended: _Extended, stream: _Stream, limits: Limits) -> Members:
    raw_name = extended.path if extended.path is not None else header.name
    if header.kind == b"5" or (header.kind == b"\0" and raw_name.endswith("/")):
        return
    if header.kind not in _REGULAR or extended.sparse:
        kind = _KINDS.get(header.kind, "not a regular file")
        yield Rejection(None, raw_name, Reason.NOT_A_REGULAR_FILE, f"{kind}; only regular files are read")
        return
    name = check_name(raw_name, limits)
    if isinstance(name, Rejection):
        yield name
        return
    size = _data_size(header, extended)
    yield Member(name, size, lambda: stream.pieces(size))


@dataclass(frozen=True)
class _Header:
    name: str
    size: int
    kind: bytes
    block: bytes


@dataclass(frozen=True)
class _Extended:
    """What pax and GNU headers say of the member that follows them."""

    path: str | None = None
    size: int | None = None
    sparse: bool = False

    def updated(self, header: _Header, stream: _Stream) -> _Extended:
        if header.size > _LONGEST_EXTENDED_HEADER:
            raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"an extended header of {header.size} bytes")
        data = stream.read(header.size)
        stream.skip(_padded(header.size) - header.size)
        if header.kind == b"L":
            return _Extended(_text(data.split(b"\0", 1)[0]), self.size, self.sparse)
        if header.kind != b"x":
            return self
        records = _pax_records(data)
        path = records.get(b"path")
        size = records.get(b"size")
        return _Extended(
            self.path if path is None else _text(path),
            self.size if size is None else _decimal(size),
            self.sparse or any(name.startswith(b"GNU.sparse") for name in records),
        )


def _next_header(stream: _Stream) -> _Header | None:
    block = stream.read_up_to(BLOCK)
    if block == _EMPTY_BLOCK:
        return None
    if not block:
        raise ArchiveEndsError(Reason.TRUNCATED_ARCHIVE, "the mark of the archive's end is missing")
    if len(block) < BLOCK:
        raise ArchiveEndsError(Reason.TRUNCATED_ARCHIVE, "ends within a header")
    if not _checksum_holds(block):
        raise ArchiveEndsError(
            Reason.CORRUPT_ARCHIVE, f"no valid tar header at byte {stream.position - BLOCK}"
        )
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    return _Header(_text(name), _number(block[124:136]), block[156:157], block)


def _checksum_holds(block: bytes) -> bool:
    stated = block[148:156].replace(b"\0", b" ").strip()
    if not stated or stated.strip(b"01234567"):
        return False
    blanked = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(blanked)
    if int(stated, 8) == unsigned:
        return True
    # Some old writers summed signed bytes.
    return int(stated, 8) == unsigned - 256 * sum(byte >= 128 for byte in blanked)


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.replace(b"\0", b" ").strip() or b"0"
    if digits.strip(b"01234567"):
        raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"{field!r} is not a size")
    return int(digits, 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"{digits[:20]!r} is not a size")
    return int(digits)


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Records `length key=value\\n`, the length counting itself."""
    records = {}
    position = 0
    while position < len(data) and data[position] != 0:
        digits, blank, _ = data[position : position + 20].partition(b" ")
        length = int(digits) if blank and digits.isdigit() else 0
        record = data[position + len(digits) + 1 : position + length]
        name, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or position + length > len(data):
            raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, "a damaged extended header")
        records[name] = value[:-1]
        position += length
    return records


def _data_size(header: _Header, extended: _Extended) -> int:
    if header.kind in _WITHOUT_DATA:
        return 0
    return header.size if extended.size is None else extended.size


def _skip_sparse_headers(block: bytes, stream: _Stream) -> None:
    more = block[482]
    while more:
        more = stream.read(BLOCK)[504]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:  # old archives use the code page of their maker; this one cannot fail
        return raw.decode("latin-1")


class _Stream(ABC):
    """Bytes in order, counted and limited."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.position = 0

    def read_up_to(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end of the archive."""
        return b"".join(self._pieces_up_to(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """`size` bytes, some at a time."""
        missing = size
        for piece in self._pieces_up_to(size):
            missing -= len(piece)
            yield piece
        if missing > 0:
            raise ArchiveEndsError(Reason.TRUNCATED_ARCHIVE, "ends within a member")

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        for _ in self.pieces(size):
            pass

    def _pieces_up_to(self, size: int) -> Iterator[bytes]:
        missing = size
        while missing > 0:
            piece = self._read(min(missing, _PIECE))
            if not piece:
                return
            self._count(len(piece))
            yield piece
            missing -= len(piece)

    def _count(self, size: int) -> None:
        self.position += size
        if self.position > self._limits.max_decompressed_bytes:
            raise ArchiveEndsError(
                Reason.DECOMPRESSED_TOO_LARGE, f"more than {self._limits.max_decompressed_bytes} bytes"
            )

    @abstractmethod
    def _read(self, size: int) -> bytes: ...


class _Plain(_Stream):
    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        super().__init__(limits)
        self._file = file
        self._end = file.seek(0, 2)
        file.seek(0)

    def _read(self, size: int) -> bytes:
        return self._file.read(size)

    def skip(self, size: int) -> None:
        if self.position + size > self._end:
            raise ArchiveEndsError(Reason.TRUNCATED_ARCHIVE, "ends within a member")
        self._file.seek(size, 1)
        self._count(size)


class _Compressed(_Stream):
    """Counts also against what was read of the compressed file."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        super().__init__(limits)
        self._compressed = file

    def _count(self, size: int) -> None:
        super()._count(size)
        allowed = self._limits.max_compression_ratio * self._compressed.tell()
        if self.position > max(UNSUSPICIOUS, allowed):
            raise ArchiveEndsError(
                Reason.COMPRESSION_RATIO, f"more than {self._limits.max_compression_ratio:g} times its size"
            )


class _Gzip(_Compressed):
    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        super().__init__(file, limits)
        self._file = gzip.GzipFile(fileobj=file, mode="rb")

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except EOFError as error:
            raise ArchiveEndsError(Reason.TRUNCATED_ARCHIVE, "the gzip stream ends early") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"the gzip stream is damaged ({error})") from error


class _Lent:
    """A file that Arrow may read but not close."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read

    def close(self) -> None:
        pass


class _Zstandard(_Compressed):
    """Arrow's decoder, which refuses windows beyond 128 MiB: the most memory a stream can ask for."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        super().__init__(file, limits)
        self._file = pa.CompressedInputStream(pa.PythonFile(_Lent(file), "r"), "zstd")

    def _read(self, size: int) -> bytes:
        try:
            return bytes(self._file.read(size))
        except OSError as error:
            reason = Reason.TRUNCATED_ARCHIVE if "runcated" in str(error) else Reason.CORRUPT_ARCHIVE
            raise ArchiveEndsError(reason, f"the zstandard stream is damaged ({error})") from error


_STREAMS: dict[Compression, Callable[[BinaryIO, Limits], _Stream]] = {
    Compression.NONE: _Plain,
    Compression.GZIP: _Gzip,
    Compression.ZSTANDARD: _Zstandard,
}
