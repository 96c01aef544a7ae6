"""The bytes of a tar in order, plain or unpacked, counted against the limits."""

from __future__ import annotations

import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from enum import Enum
from typing import BinaryIO

import pyarrow as pa

from cocu import machine
from cocu.formats.archive import ArchiveEndsError
from cocu.formats.limits import UNSUSPICIOUS, Limits
from cocu.formats.rejections import Reason

_PIECE = 1 << 20


class Compression(Enum):
    """How a tar may be compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTANDARD = "zstandard"


class TarStream(ABC):
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
        """`size` bytes. Raises ArchiveEndsError where there are fewer."""
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        """Pass over `size` bytes. Raises ArchiveEndsError where there are fewer."""
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


class _Plain(TarStream):
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


class _Compressed(TarStream):
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
            machine.raise_machine_error(error, "unpack zstandard")
            reason = Reason.TRUNCATED_ARCHIVE if "runcated" in str(error) else Reason.CORRUPT_ARCHIVE
            raise ArchiveEndsError(reason, f"the zstandard stream is damaged ({error})") from error


STREAMS: dict[Compression, Callable[[BinaryIO, Limits], TarStream]] = {
    Compression.NONE: _Plain,
    Compression.GZIP: _Gzip,
    Compression.ZSTANDARD: _Zstandard,
}
