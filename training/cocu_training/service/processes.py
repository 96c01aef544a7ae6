"""Processes in Linux: identified by their start time, found by a mark in their environment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

MARK = "COCU_TRAINING_START"
"""Environment variable of all processes of one start of a run."""

_PROCESSES = Path("/proc")


def start_time(pid: int) -> str | None:
    """When a process started, together with the boot of the machine, so that no other process has the same.

    None where there is no such process, or it has ended and only waits to be reaped.
    """
    fields = _fields(pid)
    if fields is None or fields[0] in {"Z", "X"}:
        return None
    boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{fields[19]}"


def is_alive(pid: int, process_started: str) -> bool:
    """Whether this is still the same process, and not another one with the same number."""
    return start_time(pid) == process_started


def terminate(pid: int) -> None:
    """Send SIGTERM to one process."""
    _signal([pid], signal.SIGTERM)


def find_marked(mark: str) -> list[int]:
    """The processes that have a mark, with those that they started."""
    variable = f"{MARK}={mark}".encode()
    return [pid for pid in _all() if variable in _environment(pid) and start_time(pid) is not None]


def find_roots(mark: str) -> list[int]:
    """The processes that have a mark and whose parent does not."""
    pids = find_marked(mark)
    return [pid for pid in pids if _parent(pid) not in pids]


def kill_marked(mark: str, *, seconds: float, wait: Callable[[float], object] = time.sleep) -> bool:
    """End the processes that have a mark: SIGTERM, after some seconds SIGKILL; return whether all ended.

    Only the roots get SIGTERM: torchrun passes it on, and a second one ends ranks before their checkpoint.
    """
    _signal(find_roots(mark), signal.SIGTERM)
    end = time.monotonic() + seconds
    while find_marked(mark) and time.monotonic() < end:
        wait(0.1)
    end = time.monotonic() + 10.0
    while (left := find_marked(mark)) and time.monotonic() < end:
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
    """The fields of /proc/PID/stat after the name: state, parent, …; the 20th is the start time."""
    try:
        status = (_PROCESSES / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in brackets and may contain any character, also brackets; numbers follow it.
    return status.rpartition(")")[2].split()


def _all() -> list[int]:
    return [int(entry.name) for entry in _PROCESSES.iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROCESSES / str(pid) / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
