"""What readers find before anybody looks at the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.formats.archive import check_name
from cocu.formats.captions import BadCaption, clean_caption
from cocu.formats.limits import Limits
from cocu.formats.options import CaptionChoice
from cocu.formats.rejections import Reason, Rejection
from cocu.text.encodings import Tally


@dataclass(frozen=True)
class ImageText:
    """An image that nobody has looked at yet, its clean caption and its metadata."""

    key: str
    member: str
    image: bytes
    caption: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class UrlText:
    """As `ImageText`, of an image that is known by its address alone."""

    key: str
    url: str
    caption: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class EmbeddingText:
    """As `ImageText`, of an image that is known by its embedding alone: float16 [D], of unit norm."""

    key: str
    member: str
    embedding: NDArray[np.float16]
    caption: str
    metadata: dict[str, Any]


def clean_captions(
    raw: Sequence[bytes | str], limits: Limits, tally: Tally | None = None
) -> list[str] | BadCaption:
    """The good ones of an image's captions, or what is wrong with the first."""
    cleaned = [clean_caption(text, limits=limits, tally=tally) for text in raw]
    good = [caption for caption in cleaned if isinstance(caption, str)]
    bad = [caption for caption in cleaned if isinstance(caption, BadCaption)]
    if good:
        return good
    return bad[0] if bad else BadCaption(Reason.MISSING_CAPTION, "no caption")


def choose_captions(key: str, captions: Sequence[str], choice: CaptionChoice) -> Iterator[tuple[str, str]]:
    """The samples that an image with these captions makes, as keys and captions (see `CaptionChoice`)."""
    if choice is CaptionChoice.ALL and len(captions) > 1:
        yield from ((f"{key}-{number}", caption) for number, caption in enumerate(captions))
    elif choice is CaptionChoice.RANDOM:
        draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        yield key, captions[draw % len(captions)]
    else:
        yield key, captions[0]


def row_key(raw: str, member: str, limits: Limits) -> str | Rejection:
    """A key from a cell of a table: a safe path without dots, since shards are WebDatasets.

    Two cells that differ in dots alone become one key, which then identifies neither (see `repeated`).
    """
    name = check_name(raw.strip(), limits)
    if isinstance(name, Rejection):
        return Rejection(None, member, name.reason, f"the key {raw[:100]!r}: {name.detail}")
    if not name:
        return Rejection(None, member, Reason.UNSAFE_NAME, "an empty key")
    return name.replace(".", "_")


def repeated(keys: Iterable[str]) -> frozenset[int]:
    """The hashes of the keys that come more than once, of any number of keys; "" is none."""
    hashes = np.fromiter((hash(key) for key in keys if key), np.int64)
    ordered = np.sort(hashes)
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def content_key(*parts: bytes | str) -> str:
    """A key for what has none: 20 hexadecimal digits of the hash of its content.

    Unlike a row's number it stays the same when a table is cut, sorted or joined with others.
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:20]
