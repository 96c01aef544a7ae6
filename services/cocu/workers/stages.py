"""The stages by name, and running a chunk of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from celery.exceptions import SoftTimeLimitExceeded

from cocu.platform import Platform
from cocu.storage.catalog.repeating import patience
from cocu.storage.catalog.states import Stage
from cocu.workers import cells, curate, delete, embed, fetch, group, index, ingest, neighbours, publish
from cocu.workers.leases import Lease, take

STAGES: Mapping[str, Callable[[Lease], None]] = {
    Stage.FETCH: fetch.run,
    Stage.INGEST: ingest.run,
    Stage.EMBED: embed.run,
    Stage.INDEX: index.run,
    Stage.CELLS: cells.run,
    Stage.NEIGHBOURS: neighbours.run,
    Stage.GROUP: group.run,
    Stage.CURATE: curate.run,
    Stage.PUBLISH: publish.run,
    Stage.DELETE: delete.run,
}


CATALOG_PATIENCE = 120.0
"""Seconds for which a worker waits for a database that restarts, rather than do its chunk again."""


class ChunkTooLongError(Exception):
    """The chunk ran longer than one may."""


def run_chunk(platform: Platform, chunk_id: str, *, stopping: threading.Event) -> None:
    """Runs a chunk if it is free and wanted; running it twice, even at once, changes nothing."""
    if stopping.is_set():
        return
    with patience(CATALOG_PATIENCE):
        lease = take(platform, chunk_id, stopping=stopping)
        if lease is None:
            return
        with lease:
            try:
                STAGES[lease.chunk.stage](lease)
            except SoftTimeLimitExceeded as error:
                raise ChunkTooLongError(
                    f"it ran longer than the {platform.settings.chunk_seconds:.0f} s that a chunk may; "
                    "smaller shards or more time (COCU_CHUNK_SECONDS) would help"
                ) from error
