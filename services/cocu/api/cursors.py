"""Opaque cursors: where a list goes on. A cursor of another list, or a changed one, is refused.

The checksum detects mistakes; it does not stop attackers, and need not: a position only tells where to go on
in what the tenant may see anyway. So its key is no secret, and it is the same in every replica.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from cocu.errors import InvalidInputError

_DIGEST_BYTES = 12
_KEY = b"cocu list cursor, version 1"


def encode(listing: str, position: str) -> str:
    """Return a cursor for the items from `position` on in the list called `listing`.

    The name of a list includes its filters, so that a cursor is not accepted with other filters.
    """
    payload = position.encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(_checksum(listing, payload) + payload).decode().rstrip("=")


def decode(listing: str, cursor: str) -> str:
    """Return the position in a cursor of this list. Raises InvalidInputError for any other text."""
    padding = "=" * (-len(cursor) % 4)
    try:
        raw = base64.b64decode((cursor + padding).encode("ascii"), altchars=b"-_", validate=True)
        payload = raw[_DIGEST_BYTES:]
        if hmac.compare_digest(raw[:_DIGEST_BYTES], _checksum(listing, payload)):
            return payload.decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeError):
        pass
    raise InvalidInputError(
        "The cursor is not one of this list.",
        {"query.cursor": "take it unchanged from `next` of the page before, with the same filters"},
    )


def _checksum(listing: str, payload: bytes) -> bytes:
    message = listing.encode("utf-8", "surrogatepass") + b"\0" + payload
    return hmac.digest(_KEY, message, hashlib.sha256)[:_DIGEST_BYTES]
