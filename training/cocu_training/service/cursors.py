"""Opaque cursors of the list of runs; one of another list, or one that was changed, is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from cocu_training.service.errors import InvalidError

_KEY = b"cocu_training list cursor, version 1"
_DIGEST_BYTES = 12
_NUMBER_BYTES = 8


def encode(listing: str, number: int) -> str:
    """A cursor for what follows this number in the list of that name, which includes its filters."""
    payload = number.to_bytes(_NUMBER_BYTES, "big")
    return base64.urlsafe_b64encode(_checksum(listing, payload) + payload).decode().rstrip("=")


def decode(listing: str, cursor: str) -> int:
    """The number that a cursor of this list stands for. Raises InvalidError."""
    try:
        raw = base64.b64decode((cursor + "=" * (-len(cursor) % 4)).encode("ascii"), b"-_", validate=True)
    except (binascii.Error, UnicodeError):
        raw = b""
    payload = raw[_DIGEST_BYTES:]
    right = hmac.compare_digest(raw[:_DIGEST_BYTES], _checksum(listing, payload))
    if not right or len(payload) != _NUMBER_BYTES:
        raise InvalidError(
            "The cursor is not one of this list.",
            {"query.cursor": "take it unchanged from `next` of the page before, with the same filters"},
        )
    return int.from_bytes(payload, "big")


def _checksum(listing: str, payload: bytes) -> bytes:
    return hmac.digest(_KEY, listing.encode() + b"\0" + payload, hashlib.sha256)[:_DIGEST_BYTES]
