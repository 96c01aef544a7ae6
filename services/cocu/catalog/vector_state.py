"""What the vector store should contain according to the catalog: for search, and to rebuild it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, groupby

from sqlalchemy import case, func, select

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import UNFINISHED_TASKS, DatasetState, Stage, TaskState
from cocu.errors import InvalidInputError, NotFoundError


@dataclass(frozen=True)
class EmbeddedShard:
    """A shard with embeddings by an encoder. first_row: the row of its first sample in the
    whole dataset. revision: how often its embeddings were replaced.
    """

    tenant: str
    dataset_id: str
    encoder_hash: str
    shard_id: str
    first_row: int
    samples: int
    revision: int


@dataclass(frozen=True)
class PublishedArchives:
    """The archives of a shard in a published curation; content_hash: of the shard's archives."""

    curation_id: str
    vocabulary_hash: str
    content_hash: str


@dataclass(frozen=True)
class IndexedDataset:
    """What the vector store should hold of a dataset by an encoder.

    samples: of the shards whose `index` is done. unfinished: whether others are to follow, of which the store
    may hold some samples already.
    """

    tenant: str
    dataset_id: str
    encoder_hash: str
    samples: int
    unfinished: bool


@retry_on_outage
def find_dataset(catalog: Catalog, *, dataset: str) -> tuple[str, str]:
    """Return (tenant, id) of the dataset of this id or name, of any tenant.

    Raises NotFoundError without one, InvalidInputError where several tenants have one of this name.
    """
    statement = select(models.Dataset.tenant, models.Dataset.id).where(
        (models.Dataset.id == dataset) | (models.Dataset.name == dataset),
        models.Dataset.state == DatasetState.ACTIVE,
    )
    with catalog.read() as connection:
        datasets = [(row.tenant, row.id) for row in connection.execute(statement)]
    if not datasets:
        raise NotFoundError(f"no dataset {dataset!r}")
    if len(datasets) > 1:
        ids = ", ".join(sorted(id for _, id in datasets)[:5])
        raise InvalidInputError(f"there are {len(datasets)} datasets named {dataset!r}; give the id: {ids}")
    return datasets[0]


@retry_on_outage
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
        select(models.Task.dataset_id, models.Task.target, models.Task.owner_key, models.Task.revision)
        .where(models.Task.stage == Stage.EMBED, models.Task.state == TaskState.DONE)
        .order_by(models.Task.owner_key)
    )
    if dataset_id is not None:
        done = done.where(models.Task.dataset_id == dataset_id)
    with catalog.read() as connection:
        owner_keys: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for row in connection.execute(done):
            owner_keys.setdefault((row.dataset_id, row.target), []).append((row.owner_key, row.revision))
        rows = list(connection.execute(shards))
    embedded_shards: list[EmbeddedShard] = []
    for _, group in groupby(rows, key=lambda row: row.dataset_id):
        shard_rows = list(group)
        first_rows = accumulate((row.samples for row in shard_rows), initial=0)
        for row, first_row in zip(shard_rows, first_rows, strict=False):
            embedded_shards += [
                EmbeddedShard(row.tenant, row.dataset_id, owner_key, row.id, first_row, row.samples, revision)
                for owner_key, revision in owner_keys.get((row.dataset_id, row.id), [])
            ]
    return embedded_shards


@retry_on_outage
def indexed_shards(
    catalog: Catalog, *, tenant: str, dataset_id: str, encoder_hash: str
) -> list[tuple[str, int]]:
    """(id, samples) of the shards of a dataset that were put into the vector store, in its order."""
    indexed = select(models.Task.target).where(
        models.Task.tenant == tenant,
        models.Task.dataset_id == dataset_id,
        models.Task.owner_key == encoder_hash,
        models.Task.stage == Stage.INDEX,
        models.Task.state == TaskState.DONE,
    )
    statement = (
        select(models.Shard.id, models.Shard.samples)
        .where(models.Shard.dataset_id == dataset_id, models.Shard.id.in_(indexed))
        .order_by(models.Shard.upload_ordinal, models.Shard.number)
    )
    with catalog.read() as connection:
        return [(row.id, row.samples) for row in connection.execute(statement)]


@retry_on_outage
def delayed_encoders(catalog: Catalog, *, tenant: str, dataset_id: str) -> set[str]:
    """The hashes of the encoders for which shards failed to be indexed and wait for the next attempt."""
    statement = select(models.Task.owner_key).where(
        models.Task.tenant == tenant,
        models.Task.dataset_id == dataset_id,
        models.Task.stage == Stage.INDEX,
        models.Task.state.in_(UNFINISHED_TASKS),
        models.Task.failures > 0,
    )
    with catalog.read() as connection:
        return set(connection.execute(statement.distinct()).scalars())


@retry_on_outage
def archived_by(
    catalog: Catalog, *, dataset_id: str, encoder_hash: str, shard_id: str
) -> list[PublishedArchives]:
    """The archives of a shard in the published curations of its dataset by an encoder, oldest first."""
    statement = (
        select(
            models.Curation.id.label("curation_id"),
            models.Curation.vocabulary_hash,
            models.CurationShard.content_hash,
        )
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
        return [
            PublishedArchives(row.curation_id, row.vocabulary_hash, row.content_hash)
            for row in connection.execute(statement)
        ]


@retry_on_outage
def has_concepts(catalog: Catalog, *, curation_id: str) -> bool:
    """Whether the vector store has all archives of a curation, and nobody is about to take some away again.

    Else filters by its concepts are answered from the files. False for a curation that is not published.
    """
    run, task = models.Curation, models.Task
    archived = select(models.CurationShard.shard_id).where(
        models.CurationShard.curation_id == curation_id, models.CurationShard.content_hash.is_not(None)
    )
    of_shards = (task.target.in_(archived), task.state == TaskState.DONE)
    with catalog.read() as connection:
        row = connection.execute(
            select(run.dataset_id, run.encoder_hash, run.content_hash).where(run.id == curation_id)
        ).one_or_none()
        if row is None or row.content_hash is None:
            return False
        of_index = (
            task.dataset_id == row.dataset_id,
            task.owner_key == row.encoder_hash,
            task.stage == Stage.INDEX,
        )
        of_concepts = (task.curation_id == curation_id, task.stage == Stage.INDEX_CONCEPTS)
        shards, indexed, with_concepts = (
            connection.execute(statement).scalar_one()
            for statement in (
                select(func.count()).select_from(archived.subquery()),
                select(func.count()).where(*of_index, *of_shards),
                select(func.count()).where(*of_concepts, *of_shards),
            )
        )
        if not shards == indexed == with_concepts:
            return False
        # One that began before this curation was published replaces whole points until it looks again.
        # Where it failed at its first attempt, it could not read its files, and has written nothing.
        others = (
            select(task.id)
            .join(run, run.id == task.curation_id)
            .where(
                run.dataset_id == row.dataset_id,
                run.encoder_hash == row.encoder_hash,
                task.stage == Stage.INDEX_CONCEPTS,
                task.target.in_(archived),
                task.state.not_in((TaskState.DONE, TaskState.CANCELLED)),
                (task.state != TaskState.FAILED) | (task.attempts > 1),
            )
        )
        return connection.execute(others.limit(1)).first() is None


@retry_on_outage
def indexed_datasets(catalog: Catalog) -> list[IndexedDataset]:
    """What the vector store should hold: the shards whose `index` is done, by dataset and encoder."""
    task = models.Task
    done = case((task.state == TaskState.DONE, task.units_total), else_=0)
    unfinished = case((task.state.in_(UNFINISHED_TASKS), 1), else_=0)
    statement = (
        select(
            task.tenant,
            task.dataset_id,
            task.owner_key,
            func.sum(done).label("samples"),
            func.sum(unfinished).label("unfinished"),
        )
        .join(models.Dataset, models.Dataset.id == task.dataset_id)
        .where(task.stage == Stage.INDEX, models.Dataset.state == DatasetState.ACTIVE)
        .group_by(task.tenant, task.dataset_id, task.owner_key)
        .order_by(task.dataset_id, task.owner_key)
    )
    with catalog.read() as connection:
        return [
            IndexedDataset(row.tenant, row.dataset_id, row.owner_key, int(row.samples), row.unfinished > 0)
            for row in connection.execute(statement)
        ]


@retry_on_outage
def indexing_encoders(catalog: Catalog, *, tenant: str, dataset_id: str) -> set[str]:
    """The hashes of the encoders for which at least one shard of a dataset is in the vector store."""
    statement = select(models.Task.owner_key).where(
        models.Task.tenant == tenant,
        models.Task.dataset_id == dataset_id,
        models.Task.stage == Stage.INDEX,
        models.Task.state == TaskState.DONE,
    )
    with catalog.read() as connection:
        return set(connection.execute(statement.distinct()).scalars())
