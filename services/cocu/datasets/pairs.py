"""What readers find before anybody looks at the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.datasets.captions import BadCaption, clean_caption
from cocu.datasets.limits import Limits
from cocu.datasets.members import check_name
from cocu.datasets.options import CaptionChoice
from cocu.datasets.rejections import Reason, Rejection


@dataclass(frozen=True)
class Pair:
    """An image that nobody has looked at yet, its clean caption and its metadata."""

    key: str
    member: str
    image: bytes
    caption: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Link:
    """As `Pair`, of an image that is known by its address alone."""

    key: str
    url: str
    caption: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Vector:
    """As `Pair`, of an image that is known by its embedding alone: float16 [D], of unit norm."""

    key: str
    member: str
    embedding: NDArray[np.float16]
    caption: str
    metadata: dict[str, Any]


def clean_captions(raw: Sequence[bytes | str], limits: Limits) -> list[str] | BadCaption:
    """The good ones of an image's captions, or what is wrong with the first."""
    cleaned = [clean_caption(each, limits=limits) for each in raw]
    good = [each for each in cleaned if isinstance(each, str)]
    bad = [each for each in cleaned if isinstance(each, BadCaption)]
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

    Two cells that differ in dots alone become one key, of which the first row is kept.
    """
    name = check_name(raw.strip(), limits)
    if isinstance(name, Rejection):
        return Rejection(None, member, name.reason, f"the key {raw[:100]!r}: {name.detail}")
    if not name:
        return Rejection(None, member, Reason.UNSAFE_NAME, "an empty key")
    return name.replace(".", "_")


def content_key(*parts: bytes | str) -> str:
    """A key for what has none: 20 hexadecimal digits of the hash of its content.

    Unlike a row's number it stays the same when a table is cut, sorted or joined with others.
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:20]
