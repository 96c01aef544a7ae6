"""Trying again what failed, sample by sample: rows whose image was not had, and failed embeddings.

What was accepted is not touched. Rows become an upload of their own, whose samples come after all others; a
mended shard keeps its files but the embeddings, and curations of it from then on are others than before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from cocu.errors import ConflictError, NotFoundError
from cocu.storage.catalog import chunks, datasets, models, rejections
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import new_id
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import (
    ACTIVE_CURATIONS,
    UNFINISHED_CHUNKS,
    ChunkState,
    DatasetState,
    Outcome,
    Stage,
    UploadState,
)

SOURCE = "retry:"
"""The source of an upload that consists of rows of earlier ones; no URL looks like it."""

NO_PICTURE = "no_picture"
"""Reason code of a sample that came as the embedding of another encoder: trying again gives no picture."""

COLUMNS = {"key": "key", "url": "url", "caption": "caption"}
LONGEST_NAME = 180


@dataclass(frozen=True)
class Retried:
    """How many rows are fetched, and samples embedded, again; and the chunks to enqueue."""

    rows: int
    samples: int
    planned: tuple[chunks.Planned, ...]


@repeated
def plan(catalog: Catalog, *, tenant: str, dataset_id: str, most_rows: int) -> Retried:
    """Plans to fetch again what may be had by now, and to embed again what has no embedding.

    What is being tried again already is left alone, as are embeddings that a curation under way goes by, and
    rows beyond `most_rows` of one upload. Raises NotFoundError when the tenant has no such dataset.
    """
    with catalog.write() as connection:
        found = select(models.Dataset.tenant).where(models.Dataset.id == dataset_id)
        state = datasets.lock(connection, dataset_id=dataset_id)
        if state != DatasetState.ACTIVE or connection.execute(found).scalar_one() != tenant:
            raise NotFoundError(f"no dataset {dataset_id!r}")
        rows, fetches = _fetch_again(connection, tenant, dataset_id, most_rows)
        samples, embeds = _embed_again(connection, dataset_id)
    return Retried(rows, samples, (*fetches, *embeds))


def links(catalog: Catalog, *, upload_id: str, size: int) -> Iterator[list[dict[str, Any]]]:
    """The rows that an upload of SOURCE consists of, `size` at a time: key, url, caption, metadata."""
    last = 0
    while True:
        statement = (
            select(models.Rejection.id, models.Rejection.link)
            .where(models.Rejection.retried_by == upload_id, models.Rejection.id > last)
            .order_by(models.Rejection.id)
            .limit(size)
        )
        with catalog.read() as connection:
            found = connection.execute(statement).all()
        if not found:
            return
        yield [row.link for row in found]
        last = found[-1].id


@repeated
def unembedded(catalog: Catalog, *, shard_id: str, dataset_id: str, scope: str) -> set[str]:
    """The keys of a shard's samples that an encoder failed on."""
    statement = select(models.Rejection.key).where(
        models.Rejection.dataset_id == dataset_id,
        models.Rejection.shard_id == shard_id,
        models.Rejection.scope == scope,
    )
    with catalog.read() as connection:
        return {key for key in connection.execute(statement).scalars() if key is not None}


@repeated
def mended(
    catalog: Catalog,
    *,
    chunk: chunks.ChunkRecord,
    upload_id: str,
    failed: Sequence[rejections.NewRejection],
    gained: int,
) -> None:
    """A shard was embedded again: these still failed; `gained` samples did not."""
    with catalog.write() as connection:
        rejections.replace(
            connection,
            tenant=chunk.tenant,
            dataset_id=chunk.dataset_id,
            upload_id=upload_id,
            shard_id=chunk.subject,
            scope=chunk.scope,
            new=failed,
        )
        if gained:
            connection.execute(
                update(models.Chunk)
                .where(models.Chunk.id == chunk.id)
                .values(revision=models.Chunk.revision + 1)
            )


def revisions(connection: Connection, *, dataset_id: str, encoder_hash: str) -> Mapping[str, int]:
    """How often the embeddings of shards were mended, of those where they were.

    Raises ConflictError while some are embedded again.
    """
    embeds = (
        models.Chunk.dataset_id == dataset_id,
        models.Chunk.scope == encoder_hash,
        models.Chunk.stage == Stage.EMBED,
    )
    unfinished = models.Chunk.asked & models.Chunk.state.in_(UNFINISHED_CHUNKS)
    if connection.execute(select(models.Chunk.id).where(*embeds, unfinished).limit(1)).first() is not None:
        raise ConflictError("samples are still being embedded again; curate the dataset when that is done")
    statement = select(models.Chunk.subject, models.Chunk.revision).where(*embeds, models.Chunk.revision > 0)
    return {row.subject: row.revision for row in connection.execute(statement)}


def _fetch_again(
    connection: Connection, tenant: str, dataset_id: str, most_rows: int
) -> tuple[int, list[chunks.Planned]]:
    statement = (
        select(models.Upload.id, models.Upload.name, models.Upload.options)
        .where(
            models.Upload.dataset_id == dataset_id,
            models.Upload.state == UploadState.INGESTED,
            models.Upload.id.in_(select(models.Rejection.upload_id).where(*_waiting(dataset_id))),
        )
        .order_by(models.Upload.ordinal)
    )
    rows = 0
    planned: list[chunks.Planned] = []
    for upload in connection.execute(statement).all():
        retry_id = _announce(connection, tenant, dataset_id, upload.name, upload.options)
        some = (
            select(models.Rejection.id)
            .where(*_waiting(dataset_id), models.Rejection.upload_id == upload.id)
            .order_by(models.Rejection.id)
            .limit(most_rows)
        )
        marked = update(models.Rejection).where(models.Rejection.id.in_(some)).values(retried_by=retry_id)
        rows += connection.execute(marked).rowcount
        planned += chunks.plan(
            connection, tenant=tenant, dataset_id=dataset_id, stage=Stage.FETCH, subject=retry_id
        )
    return rows, planned


def _waiting(dataset_id: str) -> tuple[Any, ...]:
    return (
        models.Rejection.dataset_id == dataset_id,
        models.Rejection.link.is_not(None),
        models.Rejection.retried_by.is_(None),
    )


def _announce(
    connection: Connection, tenant: str, dataset_id: str, name: str, options: Mapping[str, Any]
) -> str:
    base = re.sub(r" \(retry \d+\)$", "", name)[:LONGEST_NAME]
    taken = set(
        connection.execute(
            select(models.Upload.name).where(
                models.Upload.dataset_id == dataset_id, models.Upload.name.startswith(base, autoescape=True)
            )
        ).scalars()
    )
    number = next(number for number in range(1, len(taken) + 2) if f"{base} (retry {number})" not in taken)
    chosen = {"format": "parquet", "columns": COLUMNS, "fetch": True}
    if "short_side" in options:
        chosen["short_side"] = options["short_side"]
    values: dict[str, Any] = {"id": new_id(), "tenant": tenant, "dataset_id": dataset_id}
    values |= {"name": f"{base} (retry {number})", "options": chosen, "source": SOURCE}
    connection.execute(insert(models.Upload).values(**values, state=UploadState.RECEIVING))
    return str(values["id"])


def _embed_again(connection: Connection, dataset_id: str) -> tuple[int, list[chunks.Planned]]:
    statement = (
        select(models.Rejection.scope, models.Rejection.shard_id, func.count())
        .where(
            models.Rejection.dataset_id == dataset_id,
            models.Rejection.outcome == Outcome.FAILED,
            models.Rejection.reason != NO_PICTURE,
            models.Rejection.shard_id.is_not(None),
            models.Rejection.scope.not_in(
                select(models.Curation.encoder_hash).where(
                    models.Curation.dataset_id == dataset_id, models.Curation.state.in_(ACTIVE_CURATIONS)
                )
            ),
        )
        .group_by(models.Rejection.scope, models.Rejection.shard_id)
        .order_by(models.Rejection.scope, models.Rejection.shard_id)
    )
    samples = 0
    planned: list[chunks.Planned] = []
    for scope, shard_id, count in connection.execute(statement).all():
        chunk_id = chunks.identity(
            dataset_id=dataset_id, scope=scope, stage=Stage.EMBED, subject=str(shard_id)
        )
        chunk = chunks.get(connection, chunk_id=chunk_id)
        if chunk is not None and chunk.state in (ChunkState.DONE, ChunkState.FAILED, ChunkState.CANCELLED):
            chunks.restart(connection, chunk_id=chunk_id, asked=True)
            planned.append((chunk_id, Stage.EMBED))
            samples += count
    return samples, planned
