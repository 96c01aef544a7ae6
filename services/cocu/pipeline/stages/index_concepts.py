"""index_concepts: the archives of a shard → the vector store, for filters by concept. Nobody waits for it.

A point is put there as a whole, with its vector and its archives in every published curation: the store takes
whole points several times as fast as changes to their payloads, and of two who change a point none has to
read what the other wrote.
"""

from __future__ import annotations

from cocu.catalog import curations
from cocu.errors import IntegrityError, NotFoundError
from cocu.pipeline.lease import Lease
from cocu.pipeline.stages.index import embedded_shard, put_in_use


def run(lease: Lease) -> None:
    """Put a shard with its archives into the collection of its encoder; doing it again comes to the same."""
    task = lease.task
    curation = curations.of_task(lease.platform.catalog, curation_id=task.owner_key)
    shard = embedded_shard(lease.platform, task, encoder_hash=curation.encoder_hash)
    try:
        put_in_use(lease.platform, shard, advance=lease.advance, required=curation.id)
    except NotFoundError as error:
        # Files of a published curation do not come later.
        raise IntegrityError(f"a file of curation {curation.id} is gone: {error}") from error
