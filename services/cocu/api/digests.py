"""The Content-Digest header (RFC 9530): what a body's SHA-256 must be."""

from __future__ import annotations

import base64
import binascii

from cocu.api.problems import BadRequestError


def expected_sha256(header: str | None) -> str | None:
    """The SHA-256 (hex) that a Content-Digest asks for, None where it names none; raises BadRequestError.

    >>> expected_sha256("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")[:8]
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
