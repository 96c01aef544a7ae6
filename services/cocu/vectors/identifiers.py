"""What points are identified by: names of collections, ids of points, numbers of payloads."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["samples", "concepts"]
"""What the points of a collection are."""

_NAMESPACE = uuid.UUID("6f0d3c2e-6d35-5a3b-9c53-0e7d2b8f4a11")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")

LOWEST_BAND = -4
"""Concepts that score less are not written into payloads: filters below this are answered from the files."""
HIGHEST_BAND = 0
"""The band of all scores from here on: filters above it are answered from the files."""

_BAND_BITS = 3
_CONCEPT_BITS = 24
_CURATION_BITS = 63 - _CONCEPT_BITS - _BAND_BITS - 1
MAX_CONCEPTS = 1 << _CONCEPT_BITS


def collection(kind: Kind, encoder: str) -> str:
    """The name by which the points of an encoder are read and written.

    Raises ValueError for an encoder with other characters than letters, digits, `_` and `-`.
    """
    if not _NAME.fullmatch(encoder):
        raise ValueError(f"an encoder is named by letters, digits, _ and -, not {encoder[:100]!r}")
    return f"{kind}-{encoder}"


def require_owner(tenant: str, owner: str) -> None:
    """Raise ValueError where a tenant, or the dataset or vocabulary that owns points, is not named."""
    if not tenant or not owner:
        raise ValueError("tenant and dataset must be named in every call")


def point_ids(tenant: str, owner: str, keys: Iterable[str]) -> list[str]:
    """The ids of points, UUIDs of version 5: the same key of an owner is always the same point."""
    require_owner(tenant, owner)
    # With the lengths, no choice of names makes two points one.
    start = f"{len(tenant)}/{tenant}/{len(owner)}/{owner}/"
    # `uuid.uuid5` takes ten times as long, which is a sixth of all the time of writing a point.
    begun = hashlib.sha1(_NAMESPACE.bytes + start.encode(), usedforsecurity=False)
    return [_uuid5(begun, key) for key in keys]


def _uuid5(begun: hashlib._Hash, rest: str) -> str:
    digest = begun.copy()
    digest.update(rest.encode())
    octets = bytearray(digest.digest()[:16])
    # The version and the variant (RFC 9562, section 5.5).
    octets[6] = octets[6] & 0x0F | 0x50
    octets[8] = octets[8] & 0x3F | 0x80
    text = octets.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def folder_name(tenant: str, owner: str) -> str:
    """The name of the folder with an owner's points: a UUID, so no text of a client is in a path."""
    require_owner(tenant, owner)
    return uuid.uuid5(_NAMESPACE, f"{len(tenant)}/{tenant}/{owner}").hex


def require_curation(curation: str | None) -> str:
    """Return the curation's id. Raises ValueError without one, or for one with other characters."""
    if curation is None or not _NAME.fullmatch(curation):
        raise ValueError(f"a curation is named by letters, digits, _ and -, not {curation!r}")
    return curation


def archive_numbers(
    curation: str,
    concepts_C: NDArray[np.integer[Any]],
    bands_C: NDArray[np.integer[Any]],
    added_C: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Numbers of payloads that say: the archive of `curation` holds this concept, in this band of scores.

    concepts_C: numbers in the vocabulary. bands_C: from LOWEST_BAND to HIGHEST_BAND. added_C: whether the
    sample's own caption does not name it. Numbers cost an index a third of what texts do. Raises ValueError
    for a concept beyond MAX_CONCEPTS.
    """
    if len(concepts_C) and concepts_C.max() >= MAX_CONCEPTS:
        raise ValueError(f"the store knows concepts up to {MAX_CONCEPTS:,}, not {concepts_C.max():,}")
    numbers_C = np.asarray(concepts_C, np.int64) << _BAND_BITS + 1
    numbers_C |= (np.asarray(bands_C, np.int64) - LOWEST_BAND) << 1
    numbers_C |= np.asarray(added_C, np.int64)
    return numbers_C | curation_number(curation) << _CONCEPT_BITS + _BAND_BITS + 1


def matching_numbers(curation: str, concept: int, min_score: int, *, added: bool) -> list[int]:
    """The numbers of which an archive has one, where its concept scores `min_score` or more.

    added: only where the sample's own caption does not name it. Raises ValueError for a bound that payloads
    cannot tell.
    """
    if not LOWEST_BAND <= min_score <= HIGHEST_BAND:
        raise ValueError(f"payloads tell scores from {LOWEST_BAND} to {HIGHEST_BAND}, not {min_score}")
    bands_B = np.arange(min_score, HIGHEST_BAND + 1)
    concepts_B = np.full(len(bands_B), concept)
    kinds = (True,) if added else (False, True)
    numbers = [archive_numbers(curation, concepts_B, bands_B, np.full(len(bands_B), kind)) for kind in kinds]
    return [int(number) for number in np.concatenate(numbers)]


def read_archive_number(number: int) -> tuple[int, int, int]:
    """The (curation_number, concept, band) of a number of `archive_numbers`."""
    band = (number >> 1) % (1 << _BAND_BITS) + LOWEST_BAND
    concept = (number >> _BAND_BITS + 1) % MAX_CONCEPTS
    return number >> _CONCEPT_BITS + _BAND_BITS + 1, concept, band


def curation_number(curation: str) -> int:
    """35 bits of a hash of the curation's id: two of a hundred curations agree once in seven million times.

    Raises ValueError for an id with other characters than letters, digits, `_` and `-`.
    """
    digest = hashlib.sha256(require_curation(curation).encode()).digest()
    return int.from_bytes(digest[:8]) >> 64 - _CURATION_BITS
