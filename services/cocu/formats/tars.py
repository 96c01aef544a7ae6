"""Tar archives, plain or compressed, member by member.

A reader of our own: the standard library's (`mode="r|"`, Python 3.11) ends silently at a damaged header,
within a cut-off one, at a size below zero, at a missing mark of the end and at the first of several tars;
3,000 long names are a RecursionError. Formats: POSIX ustar and pax, GNU long names and the oldest.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from cocu.formats.archive import ArchiveEndsError, Member, Members, check_name
from cocu.formats.columns import Columns
from cocu.formats.limits import Limits
from cocu.formats.member_names import RawNames
from cocu.formats.notes import Notes
from cocu.formats.readers import Matches, Reader
from cocu.formats.rejections import Reason, Rejection
from cocu.formats.tar_streams import STREAMS, Compression, TarStream

BLOCK = 512
_EMPTY_BLOCK = bytes(BLOCK)
_LONGEST_EXTENDED_HEADER = 1 << 20
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_REGULAR = (b"0", b"\0", b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe"}


def tar_members(
    file: BinaryIO,
    limits: Limits,
    notes: Notes | None = None,
    *,
    compression: Compression = Compression.NONE,
) -> Members:
    """Yield the regular files of a tar, and a rejection for everything else but folders.

    Of tars that were written one after the other into one file (`cat a.tar b.tar`) all are read, and a
    rejection says where anything else follows the mark of the end. Raises ArchiveEndsError where the archive
    is cut off, damaged or beyond a limit. notes: told what names that are not UTF-8 were read as; it may be
    read again.
    """
    file.seek(0)
    names = RawNames(lambda: _raw_names(file, limits, compression), notes or Notes())
    stream = STREAMS[compression](file, limits)
    for entry in _entries(stream, limits):
        if isinstance(entry, Rejection):
            yield entry
        else:
            yield from _member(*entry, names, stream, limits)


def _entries(stream: TarStream, limits: Limits) -> Iterator[tuple[_Header, _Extended] | Rejection]:
    """The header of each member with what is said before it, the stream at its data; what follows the end."""
    extended = _Extended()
    for _ in range(limits.max_entries):
        header = _next_header(stream) or _after_end(stream)
        if not isinstance(header, _Header):
            if header is not None:
                yield header
            return
        if header.kind in (b"L", b"K", b"x", b"g"):
            extended = extended.updated(header, stream)
            continue
        if header.kind == b"S":
            _skip_sparse_headers(header.block, stream)
        end = stream.position + _padded(_data_size(header, extended))
        yield header, extended
        stream.skip(end - stream.position)
        extended = _Extended()
    if (_next_header(stream) or _after_end(stream)) is not None:
        raise ArchiveEndsError(Reason.TOO_MANY_ENTRIES, f"more than {limits.max_entries} entries")


def _raw_names(file: BinaryIO, limits: Limits, compression: Compression) -> Iterator[bytes]:
    """The names of all members as they stand in the tar, while another stream reads the same file."""
    position = file.tell()
    file.seek(0)
    try:
        for entry in _entries(STREAMS[compression](file, limits), limits):
            if not isinstance(entry, Rejection):
                yield _raw_name(*entry)
    except ArchiveEndsError:
        pass  # the other stream comes there, too, and tells
    finally:
        file.seek(position)


def is_tar(head: bytes) -> bool:
    """Whether bytes (at least 512) begin a tar: with a header whose checksum is right, or with its end."""
    block = head[:BLOCK]
    return len(block) == BLOCK and (block == _EMPTY_BLOCK or _checksum_holds(block))


def _raw_name(header: _Header, extended: _Extended) -> bytes:
    return extended.path if extended.path is not None else header.name


def _member(
    header: _Header, extended: _Extended, names: RawNames, stream: TarStream, limits: Limits
) -> Members:
    raw_name = names.text(_raw_name(header, extended))
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
    name: bytes
    size: int
    kind: bytes
    block: bytes


@dataclass(frozen=True)
class _Extended:
    """What pax and GNU headers say of the member that follows them."""

    path: bytes | None = None
    size: int | None = None
    sparse: bool = False

    def updated(self, header: _Header, stream: TarStream) -> _Extended:
        if header.size > _LONGEST_EXTENDED_HEADER:
            raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"an extended header of {header.size} bytes")
        data = stream.read(header.size)
        stream.skip(_padded(header.size) - header.size)
        if header.kind == b"L":
            return _Extended(data.split(b"\0", 1)[0], self.size, self.sparse)
        if header.kind != b"x":
            return self
        records = _pax_records(data)
        path = records.get(b"path")
        size = records.get(b"size")
        return _Extended(
            self.path if path is None else path,
            self.size if size is None else _decimal(size),
            self.sparse or any(name.startswith(b"GNU.sparse") for name in records),
        )


def _next_header(stream: TarStream) -> _Header | None:
    block = stream.read_up_to(BLOCK)
    if block == _EMPTY_BLOCK:
        return None
    return _header(block, stream.position)


def _after_end(stream: TarStream) -> _Header | Rejection | None:
    """What follows the mark of the end: another tar's first header, something else, or nothing but zeros."""
    try:
        block = _EMPTY_BLOCK
        while block and not block.strip(b"\0"):
            block = stream.read_up_to(BLOCK)
        return _header(block, stream.position) if block else None
    except ArchiveEndsError as end:
        if end.reason not in (Reason.TRUNCATED_ARCHIVE, Reason.CORRUPT_ARCHIVE):
            raise
        detail = f"bytes after the mark of the archive's end that are no tar ({end.detail})"
        return Rejection(None, "", Reason.UNLISTED_BYTES, detail)


def _header(block: bytes, position: int) -> _Header:
    if not block:
        raise ArchiveEndsError(Reason.TRUNCATED_ARCHIVE, "the mark of the tar's end is missing")
    if len(block) < BLOCK:
        raise ArchiveEndsError(Reason.TRUNCATED_ARCHIVE, "ends within a header")
    if not _checksum_holds(block):
        raise ArchiveEndsError(Reason.CORRUPT_ARCHIVE, f"no valid tar header at byte {position - BLOCK}")
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    return _Header(name, _number(block[124:136]), block[156:157], block)


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


def _skip_sparse_headers(block: bytes, stream: TarStream) -> None:
    more = block[482]
    while more:
        more = stream.read(BLOCK)[504]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _is_gzipped_tar(head: bytes, columns: Columns) -> bool:
    if not head.startswith(b"\x1f\x8b"):
        return False
    try:
        return _may_begin_tar(zlib.decompressobj(wbits=31).decompress(head, BLOCK))
    except zlib.error:
        return False


def _is_zstandard_tar(head: bytes, columns: Columns) -> bool:
    # The second is a frame to be skipped, with which pzstd begins its files.
    if not head.startswith(_ZSTANDARD) and head[1:4] != b"\x2a\x4d\x18":
        return False
    try:
        with pa.CompressedInputStream(pa.BufferReader(head), "zstd") as stream:
            return _may_begin_tar(bytes(stream.read(BLOCK)))
    except OSError as error:
        return "truncated" in str(error).lower()


def _may_begin_tar(unpacked: bytes) -> bool:
    """Whether it may: with less than a block to look at, the reader will tell."""
    return len(unpacked) < BLOCK or is_tar(unpacked)


def _reader(matches: Matches, compression: Compression) -> Reader:
    return Reader.of_archive(
        matches,
        lambda file, limits, notes: tar_members(file, limits, notes, compression=compression),
        first_dot=True,
    )


READERS = {
    "tar": _reader(lambda head, columns: is_tar(head), Compression.NONE),
    "tar.gz": _reader(_is_gzipped_tar, Compression.GZIP),
    "tar.zst": _reader(_is_zstandard_tar, Compression.ZSTANDARD),
}
