"""Damage to stored objects, as a failing disk causes it."""

from __future__ import annotations

from cocu.platform import Platform


def flip(platform: Platform, path: str, *, at: float = 0.5) -> None:
    """Change the byte at this share of an object's length, in a new file, so that it is checked again."""
    file = platform.objects.local_path(path)
    content = bytearray(file.read_bytes())
    content[int(len(content) * at)] ^= 0x55
    damaged = file.with_name("damaged")
    damaged.write_bytes(content)
    damaged.replace(file)


def the_first(platform: Platform, *parts: str) -> str:
    """Return the path of the first object whose path contains all of these parts."""
    return next(path for path in platform.objects.list() if all(part in path for part in parts))
