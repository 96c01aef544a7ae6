"""The stages by name, and running a chunk of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from cocu.platform import Platform
from cocu.storage.catalog.states import Stage
from cocu.workers import curate, delete, embed, fetch, group, index, ingest, neighbours, publish
from cocu.workers.leases import Lease, take

STAGES: Mapping[str, Callable[[Lease], None]] = {
    Stage.FETCH: fetch.run,
    Stage.INGEST: ingest.run,
    Stage.EMBED: embed.run,
    Stage.INDEX: index.run,
    Stage.NEIGHBOURS: neighbours.run,
    Stage.GROUP: group.run,
    Stage.CURATE: curate.run,
    Stage.PUBLISH: publish.run,
    Stage.DELETE: delete.run,
}


def run_chunk(platform: Platform, chunk_id: str, *, stopping: threading.Event) -> None:
    """Runs a chunk if it is free and wanted; running it twice, even at once, changes nothing."""
    lease = take(platform, chunk_id, stopping=stopping)
    if lease is None:
        return
    with lease:
        STAGES[lease.chunk.stage](lease)
