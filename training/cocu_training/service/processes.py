"""Processes as Linux knows them: told apart by when they began, found by a mark in their environment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

MARK = "COCU_TRAINING_START"
"""Environment variable that all processes of one start of a run have."""

_PROCESSES = Path("/proc")


def began(pid: int) -> str | None:
    """When a process began, in a form that no process before or after a restart of the machine shares.

    None where there is no such process, or it only waits to be reaped.
    """
    fields = _fields(pid)
    if fields is None or fields[0] in {"Z", "X"}:
        return None
    boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{fields[19]}"


def is_alive(pid: int, process_started: str) -> bool:
    """Whether it is still that process, and not another with its number."""
    return began(pid) == process_started


def terminate(pid: int) -> None:
    """Ask one process to end."""
    _signal([pid], signal.SIGTERM)


def marked(mark: str) -> list[int]:
    """The processes that carry a mark, with all that they started."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _all() if wanted in _environment(pid) and began(pid) is not None]


def first_of(mark: str) -> list[int]:
    """Those that carry a mark and were not started by another that does."""
    pids = marked(mark)
    return [pid for pid in pids if _parent(pid) not in pids]


def kill_marked(mark: str, *, seconds: float, wait: Callable[[float], object] = time.sleep) -> bool:
    """End what carries a mark: SIGTERM, and SIGKILL after some seconds; whether nothing is left.

    SIGTERM goes to those that others of them did not start: a torchrun passes it on, and twice is too often.
    """
    _signal(first_of(mark), signal.SIGTERM)
    end = time.monotonic() + seconds
    while marked(mark) and time.monotonic() < end:
        wait(0.1)
    end = time.monotonic() + 10.0
    while (left := marked(mark)) and time.monotonic() < end:
        _signal(left, signal.SIGKILL)
        wait(0.1)
    return not left


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _parent(pid: int) -> int | None:
    fields = _fields(pid)
    return None if fields is None else int(fields[1])


def _fields(pid: int) -> list[str] | None:
    """What stat says after the name: state, parent, …, and as the 20th when it began."""
    try:
        status = (_PROCESSES / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything; what follows it is numbers.
    return status.rpartition(")")[2].split()


def _all() -> list[int]:
    return [int(each.name) for each in _PROCESSES.iterdir() if each.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROCESSES / str(pid) / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
