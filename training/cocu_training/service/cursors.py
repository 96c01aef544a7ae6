"""Opaque cursors of the list of runs. A cursor of another list, or a changed one, is refused."""

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
    """Make a cursor for the items after this number. listing: name of the list, with its filters."""
    payload = number.to_bytes(_NUMBER_BYTES, "big")
    return base64.urlsafe_b64encode(_checksum(listing, payload) + payload).decode().rstrip("=")


def decode(listing: str, cursor: str) -> int:
    """Return the number in a cursor of this list. Raises InvalidError."""
    try:
        raw = base64.b64decode((cursor + "=" * (-len(cursor) % 4)).encode("ascii"), b"-_", validate=True)
    except (binascii.Error, UnicodeError):
        raw = b""
    payload = raw[_DIGEST_BYTES:]
    is_valid = hmac.compare_digest(raw[:_DIGEST_BYTES], _checksum(listing, payload))
    if not is_valid or len(payload) != _NUMBER_BYTES:
        raise InvalidError(
            "The cursor is not one of this list.",
            {"query.cursor": "take it unchanged from `next` of the page before, with the same filters"},
        )
    return int.from_bytes(payload, "big")


def _checksum(listing: str, payload: bytes) -> bytes:
    return hmac.digest(_KEY, listing.encode() + b"\0" + payload, hashlib.sha256)[:_DIGEST_BYTES]
