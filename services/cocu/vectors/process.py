"""Processes that are asked over a socket: they end when its other end is closed."""

from __future__ import annotations

import socket
import subprocess
import sys
from multiprocessing.connection import Connection


def connected_child(module: str, *arguments: str) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a module as a process with one end of a new connection, whose descriptor is its last argument."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", module, *arguments, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
        )
    return process, Connection(ours.detach())
