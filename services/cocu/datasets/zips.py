"""Zip archives, member by member."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from cocu.datasets.limits import Limits
from cocu.datasets.members import ArchiveEndsError, Member, Members, UnreadableMemberError, check_name
from cocu.datasets.rejections import Reason, Rejection

_UNSUSPICIOUS = 16 << 20
"""Decompressed bytes up to which any ratio of the whole archive is fine."""
_UNSUSPICIOUS_MEMBER = 1 << 20
_PIECE = 1 << 20

_DIRECTORY_ENTRY = struct.Struct("<4s24x3H12x")
_END = b"PK\x05\x06"
_END_64 = b"PK\x06\x06"
_LOCATOR_64 = b"PK\x06\x07"
_LONGEST_COMMENT = 65_535

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def zip_members(file: BinaryIO, limits: Limits) -> Members:
    """Yield the regular files of a zip in the order of its directory; a rejection for all else but folders.

    Stored and deflated members only. Raises ArchiveEndsError for a damaged directory or beyond a limit.
    """
    size = file.seek(0, 2)
    try:
        if _count_entries(file, size, limits.max_entries) > limits.max_entries:
            raise ArchiveEndsError(Reason.TOO_MANY_ENTRIES, f"more than {limits.max_entries} entries")
        archive = zipfile.ZipFile(file)
    except _ZIP_ERRORS as error:
        raise ArchiveEndsError(
            Reason.CORRUPT_ARCHIVE, f"the directory of the zip cannot be read ({error})"
        ) from error
    with archive:
        reader = _Reader(archive, size, limits)
        for info in archive.infolist():
            yield from reader.member(info)


class _Reader:
    """Reads members of an open zip, counting what they decompress to."""

    def __init__(self, archive: zipfile.ZipFile, archive_size: int, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits
        self._decompressed = 0
        self._allowed = max(_UNSUSPICIOUS, int(limits.max_compression_ratio * archive_size))

    def member(self, info: zipfile.ZipInfo) -> Members:
        if info.is_dir():
            return
        refused = self._refused(info)
        name = check_name(info.filename, self._limits)
        if isinstance(name, Rejection):
            yield name
        elif refused is not None:
            yield Rejection(None, info.filename, *refused)
        else:
            yield Member(name, info.file_size, lambda: self._pieces(info))

    def _refused(self, info: zipfile.ZipInfo) -> tuple[Reason, str] | None:
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            return Reason.NOT_A_REGULAR_FILE, "a link or a device; only regular files are read"
        if info.flag_bits & 0x1:
            return Reason.ENCRYPTED_MEMBER, "encrypted"
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return Reason.UNREADABLE_MEMBER, f"compression method {info.compress_type} is not read"
        ratio = self._limits.max_compression_ratio
        if info.file_size > max(_UNSUSPICIOUS_MEMBER, ratio * info.compress_size):
            return Reason.COMPRESSION_RATIO, f"more than {ratio:g} times its compressed size"
        return None

    def _pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        self._decompressed += info.file_size
        if self._decompressed > self._limits.max_decompressed_bytes:
            raise ArchiveEndsError(
                Reason.DECOMPRESSED_TOO_LARGE, f"more than {self._limits.max_decompressed_bytes} bytes"
            )
        if self._decompressed > self._allowed:  # entries that share their compressed bytes
            raise ArchiveEndsError(
                Reason.COMPRESSION_RATIO, f"more than {self._limits.max_compression_ratio:g} times its size"
            )
        unpacked = self._unpacked(info)
        while True:
            try:
                piece = next(unpacked, b"")
            except _ZIP_ERRORS as error:
                raise UnreadableMemberError(str(error) or type(error).__name__) from error
            if not piece:
                return
            yield piece

    def _unpacked(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """In pieces: read whole, a member that unpacks to more than it states is unpacked all the same."""
        with self._archive.open(info) as opened:
            while piece := opened.read(_PIECE):
                yield piece


def _count_entries(file: BinaryIO, size: int, enough: int) -> int:
    """Count directory entries up to `enough`, before the standard library puts them all into memory."""
    tail_start = max(0, size - _LONGEST_COMMENT - 22)
    file.seek(tail_start)
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0:
        raise zipfile.BadZipFile("no end of the directory")
    directory_size = struct.unpack_from("<I", tail, end + 12)[0]
    directory_end = tail_start + end
    if end >= 20 and tail[end - 20 : end - 16] == _LOCATOR_64:
        directory_end -= 76
        file.seek(max(0, directory_end))
        record = file.read(56)
        if record[:4] == _END_64:
            directory_size = struct.unpack_from("<Q", record, 40)[0]
    file.seek(max(0, directory_end - directory_size))
    count = 0
    while count <= enough and directory_size >= _DIRECTORY_ENTRY.size:
        entry = file.read(_DIRECTORY_ENTRY.size)
        if len(entry) < _DIRECTORY_ENTRY.size:
            break
        signature, *lengths = _DIRECTORY_ENTRY.unpack(entry)
        if signature != b"PK\x01\x02":
            break
        file.seek(sum(lengths), 1)
        directory_size -= _DIRECTORY_ENTRY.size + sum(lengths)
        count += 1
    return count
