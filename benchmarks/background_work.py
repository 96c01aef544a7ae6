"""What an embedded platform does after a curation is completed: a measurement waits for the end of it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GRAPH_PROCESS = b"cocu.vectors.edge_graph"
GRAPH_BEGINS_SECONDS = 60.0
WAIT_SECONDS = 3_600.0


def tasks(data: Path, where: str, columns: str = "id", after: str = "") -> list[tuple[Any, ...]]:
    """Rows of the tasks in the catalog of a data folder."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'catalog.sqlite'}?mode=ro", uri=True)) as catalog:
        return catalog.execute(f"SELECT {columns} FROM tasks WHERE {where} {after}").fetchall()


def processes(word: bytes) -> list[int]:
    """The ids of the processes of this machine whose command line has a word."""
    ids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word in path.read_bytes():
                ids.append(int(path.parent.name))
    return ids


def wait_for_tasks(data: Path) -> None:
    """Wait until every task has ended, those too that no curation waits for."""
    _wait(lambda: not tasks(data, "state NOT IN ('done', 'failed', 'cancelled')"), WAIT_SECONDS)


def wait_for_graphs() -> None:
    """Wait until graphs of vectors are built, if any is begun; small stores need none."""
    with contextlib.suppress(TimeoutError):
        _wait(lambda: bool(processes(GRAPH_PROCESS)), GRAPH_BEGINS_SECONDS)
    _wait(lambda: not processes(GRAPH_PROCESS), WAIT_SECONDS)


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)
