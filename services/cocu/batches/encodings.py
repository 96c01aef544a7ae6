"""The encodings of a stream, selected by the Accept header or by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cocu.batches import arrow, protobuf, tar
from cocu.batches.epoch import Epoch

Piece = bytes | memoryview
MIN_CHUNK_BYTES = 256 << 10
MAX_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """An encoding of the stream."""

    name: str
    media_type: str
    encode: Callable[[Epoch], Iterator[Sequence[Piece]]]

    def chunks(self, epoch: Epoch) -> Iterator[list[Piece]]:
        """Yield for each batch its bytes in chunks worth sending: small pieces are joined, large ones split.

        Batches are computed one at a time, on demand.
        """
        return (list(_chunks(pieces)) for pieces in self.encode(epoch))


ENCODINGS = {
    "arrow": Encoding("arrow", arrow.MEDIA_TYPE, arrow.encode),
    "protobuf": Encoding("protobuf", protobuf.MEDIA_TYPE, protobuf.encode),
    "tar": Encoding("tar", tar.MEDIA_TYPE, tar.encode),
}


def negotiate(header: str) -> Encoding | None:
    """Return the encoding that an Accept header prefers, Arrow on a tie; None if it accepts none.

    >>> negotiate("application/x-tar;q=0.5, application/x-protobuf").name, negotiate("*/*").name
    ('protobuf', 'arrow')
    >>> negotiate("image/png")
    """
    best: tuple[float, Encoding | None] = (0.0, None)
    for encoding in ENCODINGS.values():
        wished = quality(header, encoding.media_type)
        if wished > best[0]:
            best = wished, encoding
    return best[1]


def quality(header: str, media_type: str) -> float:
    """Return the quality of the most specific range that covers a media type (RFC 9110, section 12.5.1)."""
    best = (-1, 0.0)
    for member in header.split(","):
        media_range, *parameters = (part.strip().lower() for part in member.split(";"))
        ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
        if media_range in ranges:
            weights = [part[2:] for part in parameters if part.startswith("q=")]
            best = max(best, (ranges.index(media_range), _weight(weights[0]) if weights else 1.0))
    return best[1]


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def _chunks(pieces: Iterable[Piece]) -> Iterator[Piece]:
    small: list[Piece] = []
    size = 0
    for piece in pieces:
        if len(piece) < MIN_CHUNK_BYTES:
            small.append(piece)
            size += len(piece)
            if size < MIN_CHUNK_BYTES:
                continue
        if small:
            yield small[0] if len(small) == 1 else b"".join(small)
            small, size = [], 0
        if len(piece) >= MIN_CHUNK_BYTES:
            whole = memoryview(piece)
            yield from (
                whole[start : start + MAX_CHUNK_BYTES] for start in range(0, len(whole), MAX_CHUNK_BYTES)
            )
    if small:
        yield small[0] if len(small) == 1 else b"".join(small)
