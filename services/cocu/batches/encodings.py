"""The forms of a stream, chosen by the Accept header or by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cocu.batches import arrow, protobuf, tar
from cocu.batches.epoch import Epoch

Piece = bytes | memoryview
LEAST_BYTES = 256 << 10
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """A form of the stream."""

    name: str
    media_type: str
    encoded: Callable[[Epoch], Iterator[Sequence[Piece]]]

    def chunks(self, epoch: Epoch) -> Iterator[list[Piece]]:
        """The bytes of the stream, batch by batch, in chunks worth sending: small pieces together, large ones
        in parts.

        One batch is made at a time, when it is asked for.
        """
        return (list(_chunks(pieces)) for pieces in self.encoded(epoch))


ENCODINGS = {
    "arrow": Encoding("arrow", arrow.MEDIA_TYPE, arrow.encoded),
    "protobuf": Encoding("protobuf", protobuf.MEDIA_TYPE, protobuf.encoded),
    "tar": Encoding("tar", tar.MEDIA_TYPE, tar.encoded),
}


def accepted(header: str) -> Encoding | None:
    """What an Accept header likes best of these, Arrow where it leaves the choice; None where it wants none.

    >>> accepted("application/x-tar;q=0.5, application/x-protobuf").name, accepted("*/*").name
    ('protobuf', 'arrow')
    >>> accepted("image/png")
    """
    best: tuple[float, Encoding | None] = (0.0, None)
    for encoding in ENCODINGS.values():
        quality = _quality(header, encoding.media_type)
        if quality > best[0]:
            best = quality, encoding
    return best[1]


def _quality(header: str, media_type: str) -> float:
    """The quality of the most specific range that covers a media type (RFC 9110, section 12.5.1)."""
    found = (-1, 0.0)
    for member in header.split(","):
        given, *parameters = (part.strip().lower() for part in member.split(";"))
        ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
        if given in ranges:
            weights = [part[2:] for part in parameters if part.startswith("q=")]
            found = max(found, (ranges.index(given), _weight(weights[0]) if weights else 1.0))
    return found[1]


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
        if len(piece) < LEAST_BYTES:
            small.append(piece)
            size += len(piece)
            if size < LEAST_BYTES:
                continue
        if small:
            yield small[0] if len(small) == 1 else b"".join(small)
            small, size = [], 0
        if len(piece) >= LEAST_BYTES:
            whole = memoryview(piece)
            yield from (whole[start : start + MOST_BYTES] for start in range(0, len(whole), MOST_BYTES))
    if small:
        yield small[0] if len(small) == 1 else b"".join(small)
