"""Figures of a worker or sweeper, served on a port of their own.

    with shared_figures() as folder, exposed(host, port, folder): ...    # before processes are forked
    with exposed(host, port): ...                                        # of this process alone

The processes of a worker add to files of theirs in one folder, and the parent serves the sums. A file belongs
to a place in the pool, not to a process: who takes the place of a process that died goes on with its figures.
So nothing is lost and nothing piles up; and there are no locks, which a process that is killed would keep.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from billiard.process import current_process  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector

from cocu.workers.measures import measures

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_figures() -> Iterator[Path]:
    """A folder that the figures of this process and of those it forks are kept in, for the block."""
    folder = Path(tempfile.mkdtemp(prefix="cocu-figures-"))
    os.environ[FOLDER_VARIABLE] = str(folder)
    alone = values.ValueClass
    values.ValueClass = values.MultiProcessValue(_place)  # type: ignore[no-untyped-call]
    measures.cache_clear()
    measures()
    try:
        yield folder
    finally:
        values.ValueClass = alone
        measures.cache_clear()
        del os.environ[FOLDER_VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def exposed(host: str, port: int, folder: Path | None = None) -> Iterator[WSGIServer]:
    """Serves the figures of this process, or the sums of a folder, from a thread; port 0 takes a free one.

    Raises OSError where it cannot listen there.
    """
    server, thread = start_http_server(port, host, _registry(folder))
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _registry(folder: Path | None) -> CollectorRegistry:
    if folder is None:
        return measures().registry
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry


def _place() -> str:
    """The place of this process in its pool; no two processes have one at the same time."""
    return str(getattr(current_process(), "index", "parent"))
