"""The header Content-Digest (RFC 9530): the SHA-256 that a body must have."""

from __future__ import annotations

import base64
import binascii

from cocu.api.problems import BadRequestError


def parse_content_digest(header: str | None) -> str | None:
    """Return the SHA-256 (hex) in a Content-Digest, None where it has none. Raises BadRequestError.

    >>> parse_content_digest("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")[:8]
    'e3b0c442'
    """
    if header is None:
        return None
    for member in header.split(","):
        name, _, value = member.strip().partition("=")
        if name.strip().lower() == "sha-256":
            return _decoded(value.strip())
    return None


def _decoded(value: str) -> str:
    try:
        if len(value) < 2 or value[0] != ":" or value[-1] != ":":
            raise ValueError
        digest = base64.b64decode(value[1:-1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused() from error
    if len(digest) != 32:
        raise _refused()
    return digest.hex()


def _refused() -> BadRequestError:
    return BadRequestError(
        "Content-Digest is not as RFC 9530 writes it: sha-256=:<base64 of the 32 bytes>:; "
        "correct it or leave it out."
    )
