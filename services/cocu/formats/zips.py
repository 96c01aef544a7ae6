"""Zip archives, member by member."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from cocu import machine
from cocu.formats.archive import ArchiveEndsError, Member, Members, UnreadableMemberError, check_name
from cocu.formats.limits import UNSUSPICIOUS, Limits
from cocu.formats.member_names import code_page, member_name
from cocu.formats.notes import Notes
from cocu.formats.readers import Reader
from cocu.formats.rejections import Reason, Rejection

_UNSUSPICIOUS_MEMBER = 1 << 20
_PIECE = 1 << 20

_DIRECTORY_ENTRY = struct.Struct("<4s24x3H12x")
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
_HEADER_SIZE = 30
_LONGEST_SIZES = 24
"""Bytes after a member in which its sizes may be stated."""
_LIKELY_GAP = 64
_END = b"PK\x05\x06"
_END_SIZE = 22
_END_64 = b"PK\x06\x06"
_LOCATOR_64 = b"PK\x06\x07"
_LOCATORS_SIZE = 76
_LONGEST_COMMENT = 65_535
_FURTHEST = 16 << 20
"""Bytes that may follow a zip for it to be found."""
_MOST_ENDS = 1_000

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


def zip_members(file: BinaryIO, limits: Limits, notes: Notes | None = None) -> Members:
    """Yield the regular files of a zip in the order of its directory; a rejection for all else but folders.

    Of zips that were written one after the other into one file all are read, and rejections say where the
    file holds bytes that no directory names. Stored and deflated members only. Raises ArchiveEndsError for a
    damaged directory or beyond a limit. notes: told what the names of members were read as, where that is a
    guess; it may be read again.
    """
    size = file.seek(0, 2)
    try:
        parts = _parts(file, size, limits.max_entries)
    except _ZIP_ERRORS as error:
        machine.raise_machine_error(error, "read a zip")
        raise ArchiveEndsError(
            Reason.CORRUPT_ARCHIVE, f"the directory of the zip cannot be read ({error})"
        ) from error
    reader = _Reader(size, limits)
    end = 0
    for part in parts:
        yield from _unlisted(part.start - end, end)
        whole = part.start == 0 and part.comment == size
        try:
            archive = zipfile.ZipFile(
                file if whole else cast("BinaryIO", _Slice(file, part.start, part.comment))
            )
        except _ZIP_ERRORS as error:
            raise ArchiveEndsError(
                Reason.CORRUPT_ARCHIVE, f"the directory of the zip cannot be read ({error})"
            ) from error
        with archive:
            yield from _unlisted(*_gaps(file, part, archive.infolist()))
            page = code_page(archive.infolist(), notes)
            for info in archive.infolist():
                yield from reader.member(archive, info, page)
        end = part.end
    yield from _unlisted(size - end, end)


def _unlisted(number: int, start: int) -> Members:
    if number > 0:
        detail = f"{number} bytes, from byte {start} on, are of no member that a directory lists"
        yield Rejection(None, "", Reason.UNLISTED_BYTES, detail)


class _Reader:
    """Reads members of an open zip, counting what they decompress to."""

    def __init__(self, file_size: int, limits: Limits) -> None:
        self._limits = limits
        self._decompressed = 0
        self._allowed = max(UNSUSPICIOUS, int(limits.max_compression_ratio * file_size))

    def member(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, page: str) -> Members:
        if info.is_dir():
            return
        refused = self._refused(info)
        # The standard library cuts a name at NUL; what is left could be another member's name.
        cut = "\0" in info.orig_filename
        name = check_name(info.orig_filename if cut else member_name(info, page), self._limits)
        if isinstance(name, Rejection):
            yield name
        elif refused is not None:
            yield Rejection(None, info.filename, *refused)
        else:
            yield Member(name, info.file_size, lambda: self._pieces(archive, info))

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

    def _pieces(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
        self._decompressed += info.file_size
        if self._decompressed > self._limits.max_decompressed_bytes:
            raise ArchiveEndsError(
                Reason.DECOMPRESSED_TOO_LARGE, f"more than {self._limits.max_decompressed_bytes} bytes"
            )
        if self._decompressed > self._allowed:  # entries that share their compressed bytes
            raise ArchiveEndsError(
                Reason.COMPRESSION_RATIO, f"more than {self._limits.max_compression_ratio:g} times its size"
            )
        unpacked = _unpacked(archive, info)
        while True:
            try:
                piece = next(unpacked, b"")
            except _ZIP_ERRORS as error:
                machine.raise_machine_error(error, "read a zip")
                raise UnreadableMemberError(str(error) or type(error).__name__) from error
            if not piece:
                return
            yield piece


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """In pieces: read whole, a member that unpacks to more than it states is unpacked all the same."""
    with archive.open(info) as opened:
        while piece := opened.read(_PIECE):
            yield piece


@dataclass(frozen=True)
class _Part:
    """A zip in a file: where it begins, its directory and its comment do, and where it ends."""

    start: int
    directory: int
    comment: int
    end: int


def _parts(file: BinaryIO, size: int, most_entries: int) -> list[_Part]:
    """The zips of a file in their order. Raises BadZipFile where there is none."""
    parts: list[_Part] = []
    entries = 0
    end = size
    while end > 0 and (part := _last_part(file, end)) is not None:
        entries += _count_entries(file, part, most_entries)
        if entries > most_entries:
            raise ArchiveEndsError(Reason.TOO_MANY_ENTRIES, f"more than {most_entries} entries")
        parts.insert(0, part)
        end = part.start
    if not parts:
        raise zipfile.BadZipFile("no end of the directory")
    return parts


def _last_part(file: BinaryIO, end: int) -> _Part | None:
    """The last zip before a byte of the file; other bytes may follow it."""
    for reach in (_LONGEST_COMMENT + _END_SIZE, _FURTHEST):
        start = max(0, end - reach)
        file.seek(start)
        tail = file.read(end - start)
        at = len(tail)
        for _ in range(_MOST_ENDS):
            at = tail.rfind(_END, 0, at + len(_END) - 1)
            if at < 0:
                break
            if (part := _part(file, start + at, end)) is not None:
                return part
    return None


def _part(file: BinaryIO, at: int, end: int) -> _Part | None:
    """The zip whose directory ends with the record at a byte; None where no such record is."""
    file.seek(at)
    record = file.read(_END_SIZE)
    if len(record) < _END_SIZE:
        return None
    entries, size, offset, comment = struct.unpack("<10xHIIH", record)
    directory_end = at
    file.seek(max(0, at - 20))
    if file.read(4) == _LOCATOR_64 and at >= _LOCATORS_SIZE:
        file.seek(at - _LOCATORS_SIZE)
        record = file.read(56)
        if record[:4] == _END_64:
            entries, size, offset = struct.unpack_from("<QQQ", record, 32)
            directory_end = at - _LOCATORS_SIZE
    directory = directory_end - size
    if directory < 0 or directory < offset:
        return None
    file.seek(directory)
    if (size and file.read(4) != _DIRECTORY_SIGNATURE) or (entries and not size):
        return None
    record_end = at + _END_SIZE
    return _Part(directory - offset, directory, record_end, min(end, record_end + comment))


def _gaps(file: BinaryIO, part: _Part, infos: Sequence[zipfile.ZipInfo]) -> tuple[int, int]:
    """How many bytes between the members are of none of them, and where the first of them is."""
    number, first, end = 0, part.start, part.start
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [*(part.start + info.header_offset for info in ordered), part.directory]
    if ordered and starts[0] > end:
        number, end = starts[0] - end, starts[0]
    for info, start, following in zip(ordered, starts, starts[1:], strict=False):
        # A member's own header is as long as the directory says, but for a few bytes; else it is looked at.
        likely = start + _HEADER_SIZE + len(info.filename) + len(info.extra) + info.compress_size
        if 0 <= following - likely <= _LIKELY_GAP:
            end = max(end, following)
            continue
        file.seek(start)
        header = file.read(_HEADER_SIZE)
        lengths = struct.unpack("<26xHH", header) if len(header) == _HEADER_SIZE else (0, 0)
        end = max(end, start + _HEADER_SIZE + sum(lengths) + info.compress_size)
        if following > end + _LONGEST_SIZES:
            first = first if number else end
            number += following - end
    return number, first


def _count_entries(file: BinaryIO, part: _Part, enough: int) -> int:
    """Count directory entries up to `enough`, before the standard library puts them all into memory."""
    file.seek(part.directory)
    count = 0
    while count <= enough:
        entry = file.read(_DIRECTORY_ENTRY.size)
        if len(entry) < _DIRECTORY_ENTRY.size:
            break
        signature, *lengths = _DIRECTORY_ENTRY.unpack(entry)
        if signature != _DIRECTORY_SIGNATURE:
            break
        file.seek(sum(lengths), 1)
        count += 1
    return count


class _Slice:
    """A part of a file, as a file."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file = file
        self._start = start
        self._end = end
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes; all there are for a negative size."""
        left = max(0, self._end - self._start - self._at)
        self._file.seek(self._start + self._at)
        piece = self._file.read(left if size < 0 else min(size, left))
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte of the part."""
        at = (0, self._at, self._end - self._start)[whence] + offset
        if at < 0:
            raise OSError("before the beginning")
        self._at = at
        return at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seekable(self) -> bool:
        """It is."""
        return True


READERS = {
    "zip": Reader.of_archive(lambda head, columns: head.startswith((b"PK\x03\x04", _END)), zip_members),
}
