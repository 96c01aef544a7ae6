"""Parts of files, read into memory that is there already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cocu.errors import IntegrityError


def read_file_into(file: Path, ranges: Sequence[tuple[int, memoryview]]) -> None:
    """Fill each view with the bytes of the file from its offset on. Raises IntegrityError behind the end."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for offset, view in ranges:
            filled = 0
            while filled < view.nbytes:
                count = os.preadv(descriptor, [view[filled:]], offset + filled)
                if not count:
                    raise IntegrityError(f"file {file.name} became shorter while it was read")
                filled += count
    finally:
        os.close(descriptor)
