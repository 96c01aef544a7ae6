"""What the vector store should hold, as the catalog has it: for search to compare, for making it again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate, groupby

from sqlalchemy import select, update

from cocu.errors import InvalidInputError, NotFoundError
from cocu.storage.catalog import models
from cocu.storage.catalog.chunks import identity
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import storable
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import UNFINISHED_CHUNKS, ChunkState, DatasetState, Stage

_AT_ONCE = 500


@dataclass(frozen=True)
class EmbeddedShard:
    """A shard with embeddings by an encoder. first_row: of its samples in the order of the whole dataset.

    revision: how often its embeddings were mended.
    """

    tenant: str
    dataset_id: str
    encoder_hash: str
    shard_id: str
    first_row: int
    samples: int
    revision: int


@repeated
def find_dataset(catalog: Catalog, *, dataset: str) -> tuple[str, str]:
    """(tenant, id) of the dataset of this id or name, whosesoever it is.

    Raises NotFoundError without one, InvalidInputError where several tenants have one of this name.
    """
    statement = select(models.Dataset.tenant, models.Dataset.id).where(
        (models.Dataset.id == dataset) | (models.Dataset.name == dataset),
        models.Dataset.state == DatasetState.ACTIVE,
    )
    with catalog.read() as connection:
        found = [(row.tenant, row.id) for row in connection.execute(statement)]
    if not found:
        raise NotFoundError(f"no dataset {dataset!r}")
    if len(found) > 1:
        ids = ", ".join(sorted(id for _, id in found)[:5])
        raise InvalidInputError(f"there are {len(found)} datasets named {dataset!r}; give the id: {ids}")
    return found[0]


@repeated
def embedded(catalog: Catalog, *, dataset_id: str | None = None) -> list[EmbeddedShard]:
    """Every shard that has embeddings, once for each encoder; of one dataset if given. Of all tenants."""
    of_dataset = () if dataset_id is None else (models.Dataset.id == dataset_id,)
    shards = (
        select(models.Shard.dataset_id, models.Shard.tenant, models.Shard.id, models.Shard.samples)
        .join(models.Dataset, models.Dataset.id == models.Shard.dataset_id)
        .where(models.Dataset.state == DatasetState.ACTIVE, *of_dataset)
        .order_by(models.Shard.dataset_id, models.Shard.upload_ordinal, models.Shard.number)
    )
    done = (
        select(models.Chunk.dataset_id, models.Chunk.subject, models.Chunk.scope, models.Chunk.revision)
        .where(models.Chunk.stage == Stage.EMBED, models.Chunk.state == ChunkState.DONE)
        .order_by(models.Chunk.scope)
    )
    if dataset_id is not None:
        done = done.where(models.Chunk.dataset_id == dataset_id)
    with catalog.read() as connection:
        scopes: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for row in connection.execute(done):
            scopes.setdefault((row.dataset_id, row.subject), []).append((row.scope, row.revision))
        rows = list(connection.execute(shards))
    found: list[EmbeddedShard] = []
    for _, of_one in groupby(rows, key=lambda row: row.dataset_id):
        listed = list(of_one)
        first_rows = accumulate((row.samples for row in listed), initial=0)
        for row, first_row in zip(listed, first_rows, strict=False):
            found += [
                EmbeddedShard(row.tenant, row.dataset_id, scope, row.id, first_row, row.samples, revision)
                for scope, revision in scopes.get((row.dataset_id, row.id), [])
            ]
    return found


@repeated
def indexed_shards(
    catalog: Catalog, *, tenant: str, dataset_id: str, encoder_hash: str
) -> list[tuple[str, int]]:
    """(id, samples) of the shards of a dataset that were put into the vector store, in its order."""
    indexed = select(models.Chunk.subject).where(
        models.Chunk.tenant == tenant,
        models.Chunk.dataset_id == dataset_id,
        models.Chunk.scope == encoder_hash,
        models.Chunk.stage == Stage.INDEX,
        models.Chunk.state == ChunkState.DONE,
    )
    statement = (
        select(models.Shard.id, models.Shard.samples)
        .where(models.Shard.dataset_id == dataset_id, models.Shard.id.in_(indexed))
        .order_by(models.Shard.upload_ordinal, models.Shard.number)
    )
    with catalog.read() as connection:
        return [(row.id, row.samples) for row in connection.execute(statement)]


@repeated
def delayed_encoders(catalog: Catalog, *, tenant: str, dataset_id: str) -> set[str]:
    """The hashes of the encoders by which shards wait for the vector store, after a failure, to be put in."""
    statement = select(models.Chunk.scope).where(
        models.Chunk.tenant == tenant,
        models.Chunk.dataset_id == dataset_id,
        models.Chunk.stage == Stage.INDEX,
        models.Chunk.state.in_(UNFINISHED_CHUNKS),
        models.Chunk.failures > 0,
    )
    with catalog.read() as connection:
        return set(connection.execute(statement.distinct()).scalars())


@repeated
def archived_by(catalog: Catalog, *, dataset_id: str, encoder_hash: str, shard_id: str) -> list[str]:
    """The ids of the published curations, oldest first, that have archives of a shard."""
    statement = (
        select(models.Curation.id)
        .join(models.CurationShard, models.CurationShard.curation_id == models.Curation.id)
        .where(
            models.Curation.dataset_id == dataset_id,
            models.Curation.encoder_hash == encoder_hash,
            models.Curation.content_hash.is_not(None),
            models.CurationShard.shard_id == shard_id,
            models.CurationShard.content_hash.is_not(None),
        )
        .order_by(models.Curation.created_at, models.Curation.id)
    )
    with catalog.read() as connection:
        return list(connection.execute(statement).scalars())


@repeated
def note_indexed(catalog: Catalog, shards: Collection[EmbeddedShard]) -> None:
    """These shards are in the vector store, although their `index` has not succeeded.

    Those that a worker is at, or is to begin with, it goes on with: a curation may wait for their end.
    """
    ids = [
        identity(dataset_id=one.dataset_id, scope=one.encoder_hash, stage=Stage.INDEX, subject=one.shard_id)
        for one in shards
    ]
    waiting = (models.Chunk.state == ChunkState.PENDING) & (models.Chunk.failures > 0)
    given_up = models.Chunk.state.in_((ChunkState.FAILED, ChunkState.CANCELLED))
    for start in range(0, len(ids), _AT_ONCE):
        with catalog.write() as connection:
            connection.execute(
                update(models.Chunk)
                .where(models.Chunk.id.in_(ids[start : start + _AT_ONCE]), waiting | given_up)
                .values(state=ChunkState.DONE, asked=False, error=None, units_done=models.Chunk.units_total)
            )


@repeated
def note_left_out(catalog: Catalog, shard: EmbeddedShard, *, error: str) -> None:
    """This shard is not in the vector store, although its `index` may once have succeeded."""
    chunk_id = identity(
        dataset_id=shard.dataset_id, scope=shard.encoder_hash, stage=Stage.INDEX, subject=shard.shard_id
    )
    with catalog.write() as connection:
        connection.execute(
            update(models.Chunk)
            .where(models.Chunk.id == chunk_id, models.Chunk.state == ChunkState.DONE)
            .values(state=ChunkState.FAILED, error=storable(error))
        )
