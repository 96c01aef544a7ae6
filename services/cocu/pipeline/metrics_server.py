"""The server of the metrics of a worker or sweeper, on a port of its own.

    with shared_metrics() as folder, serve_metrics(host, port, folder): ...    # before processes are forked
    with serve_metrics(host, port): ...                                        # of this process alone

Each process of a worker writes its metrics to a file in one folder, and the parent serves the sums. A file
belongs to an index in the pool, not to a process: the process that replaces a dead one goes on with its file.
So no count is lost and the number of files is bounded. There are no locks, which a killed process would keep.
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

from cocu.pipeline.metrics import metrics

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_metrics() -> Iterator[Path]:
    """Keep the metrics of this process and its children in a folder while the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="cocu-metrics-"))
    os.environ[FOLDER_VARIABLE] = str(folder)
    previous_class = values.ValueClass
    values.ValueClass = values.MultiProcessValue(_pool_index)  # type: ignore[no-untyped-call]
    metrics.cache_clear()
    metrics()
    try:
        yield folder
    finally:
        values.ValueClass = previous_class
        metrics.cache_clear()
        del os.environ[FOLDER_VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serve_metrics(host: str, port: int, folder: Path | None = None) -> Iterator[WSGIServer]:
    """Serve the metrics of this process, or the sums of a folder, from a thread; port 0 takes a free one.

    Raises OSError if it cannot listen there.
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
        return metrics().registry
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry


def _pool_index() -> str:
    """Return the index of this process in its pool; no two living processes have the same."""
    return str(getattr(current_process(), "index", "parent"))
