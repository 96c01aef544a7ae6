"""Seeds as functions of names and numbers, so that a resumed run draws the same numbers."""

from __future__ import annotations

import hashlib


def seed_of(*names: str | int) -> int:
    """Return the 63-bit seed of a tuple of names and numbers."""
    # Lengths before the parts keep ("a", "bc") and ("ab", "c") apart.
    parts = "".join(f"{len(str(part))}:{part}" for part in names)
    digest = hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
