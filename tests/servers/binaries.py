"""Finding the servers that tests start: Debian's, or those of an environment beside this one."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest


def find_binary(name: str, *, folders: tuple[str, ...] = (), package: str) -> Path:
    """The server program of this name, on the path or in one of the folders (glob patterns from the root).

    Without it the test is skipped, or fails where COCU_TEST_SERVERS=required says that it must be there.
    """
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    for pattern in folders:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            if (path / name).is_file():
                return path / name
    absent(f"{name} is not installed; it comes with Debian's package {package}")


def absent(why: str) -> NoReturn:
    """Skips the test for the lack of a server, or fails it where servers are required."""
    if os.environ.get("COCU_TEST_SERVERS") == "required":
        pytest.fail(why)
    pytest.skip(why)


def free_port() -> int:
    """A port of the loopback that nothing listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
