"""Images without what is written about them: texts, profiles and thumbnails that decoders stumble over.

A decoder may refuse a good image for a text of some megabytes, a damaged profile or a checksum that is
wrong in a comment; and a file may be too large for these alone. What makes the image is kept, and how it is
turned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress

_PNG = b"\x89PNG\r\n\x1a\n"
_OF_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_OF_WEBP = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}
_TURN = {b"eXIf", b"EXIF"}
_LONGEST_TURN = 1 << 16
_SOI, _SOS = 0xD8, 0xDA
_JFIF, _EXIF, _ADOBE, _LAST_APP, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_NAMES = {_JFIF: (b"JFIF\0", 16), _EXIF: (b"Exif\0", 8), _ADOBE: (b"Adobe", 14)}


def without_metadata(data: bytes) -> bytes | None:
    """The image of a PNG, JPEG or WebP alone; None where it cannot be told from the rest."""
    return picture_alone([data], most_bytes=len(data))


def picture_alone(pieces: Iterable[bytes], *, most_bytes: int) -> bytes | None:
    """As `without_metadata`, of a file of any size that is read in pieces; None also for a larger image.

    Memory holds at most so many bytes and a piece.
    """
    file = _Pieces(iter(pieces), most_bytes)
    with suppress(_TooLargeError):
        start = file.read(2)
        if start == _PNG[:2] and file.read(6) == _PNG[2:]:
            return _PNG + b"".join(_png_chunks(file))
        if start == b"\xff\xd8":
            return start + b"".join(_jpeg_segments(file))
        if start == b"RI" and file.read(2) == b"FF" and file.read(8)[4:] == b"WEBP":
            chunks = b"".join(_webp_chunks(file))
            return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    return None


def _png_chunks(file: _Pieces) -> Iterator[bytes]:
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind in _OF_PICTURE or (kind in _TURN and size <= _LONGEST_TURN):
            yield head + file.read(size + 4)
        else:
            file.skip(size + 4)
        if kind == b"IEND":
            return
    yield head  # the decoder is to see that it is cut off


def _jpeg_segments(file: _Pieces) -> Iterator[bytes]:
    turned = False
    while len(head := file.read(4)) == 4:
        mark, kind, size = struct.unpack(">BBH", head)
        if mark != 0xFF or kind == _SOS or size < 2:
            break
        begin = file.read(min(size - 2, 16))
        name, shortest = _NAMES.get(kind, (b"-", 0))
        keeps = begin.startswith(name) and size >= shortest and not (kind == _EXIF and turned)
        if keeps or not (_JFIF <= kind <= _LAST_APP or kind == _COMMENT):
            turned = turned or kind == _EXIF
            yield head + begin + file.read(size - 2 - len(begin))
        else:
            file.skip(size - 2 - len(begin))
    yield head + file.rest()


def _webp_chunks(file: _Pieces) -> Iterator[bytes]:
    while len(head := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        padded = size + size % 2
        if kind in _OF_WEBP:
            yield head + file.read(padded)
        elif kind in _TURN and size <= _LONGEST_TURN:
            turn = file.read(padded)
            if len(turn) == padded:
                yield head + turn
        else:
            file.skip(padded)


class _TooLargeError(Exception):
    """More was to be kept than may be."""


class _Pieces:
    """Bytes in order, of which no more than so many may be read; what is skipped does not count."""

    def __init__(self, pieces: Iterator[bytes], most_bytes: int) -> None:
        self._pieces = pieces
        self._at_hand = memoryview(b"")
        self._left = most_bytes

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        return b"".join(self._taken(size))

    def rest(self) -> bytes:
        """All that is left."""
        return b"".join(iter(lambda: self.read(1 << 20), b""))

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        while size > 0 and (piece := self._next(size)):
            size -= len(piece)

    def _taken(self, size: int) -> Iterator[bytes]:
        while size > 0 and (piece := self._next(size)):
            size -= len(piece)
            self._left -= len(piece)
            if self._left < 0:
                raise _TooLargeError
            yield bytes(piece)

    def _next(self, size: int) -> memoryview:
        while not self._at_hand:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._at_hand = memoryview(piece)
        taken, self._at_hand = self._at_hand[:size], self._at_hand[size:]
        return taken
