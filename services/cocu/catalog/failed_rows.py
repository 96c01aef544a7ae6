"""Retries of single samples: rows whose image could not be fetched, and embeddings that failed.

Accepted samples do not change. Retried rows become a new upload, whose samples come after all others. A shard
that is embedded again gets a new file of embeddings only, and later curations of it have other ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from cocu.catalog import models, rejections, tasks
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import (
    UNFINISHED_TASKS,
    Stage,
)
from cocu.errors import ConflictError

SOURCE = "retry:"
"""The source of an upload that consists of rows of earlier ones; no URL looks like it."""

REFUSED_BY = "refused_by"
"""Key in the link of a row that a setting refused, with its name; readers write it (`formats.rejections`)."""

NO_IMAGE = "no_picture"
"""Reason code of a sample that came as the embedding of another encoder: a retry gives no image."""


def read(catalog: Catalog, *, upload_id: str, size: int) -> Iterator[list[dict[str, Any]]]:
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
            rows = connection.execute(statement).all()
        if not rows:
            return
        yield [row.link for row in rows]
        last = rows[-1].id


def forget_links(connection: Connection, *, upload_id: str) -> None:
    """Delete the links of rows that an upload of SOURCE has fetched: they are not needed any more."""
    connection.execute(
        update(models.Rejection).where(models.Rejection.retried_by == upload_id).values(link=None)
    )


@retry_on_outage
def unembedded(catalog: Catalog, *, shard_id: str, dataset_id: str, owner_key: str) -> set[str]:
    """The keys of a shard's samples that an encoder could not embed."""
    statement = select(models.Rejection.key).where(
        models.Rejection.dataset_id == dataset_id,
        models.Rejection.shard_id == shard_id,
        models.Rejection.owner_key == owner_key,
    )
    with catalog.read() as connection:
        return {key for key in connection.execute(statement).scalars() if key is not None}


@retry_on_outage
def reembedded(
    catalog: Catalog,
    *,
    task: tasks.TaskRecord,
    upload_id: str,
    failed: Sequence[rejections.NewRejection],
    gained: int,
) -> None:
    """Store that a shard was embedded again: `failed` still failed, `gained` samples succeeded."""
    with catalog.write() as connection:
        rejections.replace(
            connection,
            tenant=task.tenant,
            dataset_id=task.dataset_id,
            upload_id=upload_id,
            shard_id=task.target,
            owner_key=task.owner_key,
            new=failed,
        )
        if gained:
            connection.execute(
                update(models.Task).where(models.Task.id == task.id).values(revision=models.Task.revision + 1)
            )


def revisions(connection: Connection, *, dataset_id: str, encoder_hash: str) -> Mapping[str, int]:
    """How often embeddings were replaced, by shard; shards without replacements are left out.

    Raises ConflictError while some samples are being embedded again.
    """
    embeds = (
        models.Task.dataset_id == dataset_id,
        models.Task.owner_key == encoder_hash,
        models.Task.stage == Stage.EMBED,
    )
    unfinished = models.Task.requested & models.Task.state.in_(UNFINISHED_TASKS)
    if connection.execute(select(models.Task.id).where(*embeds, unfinished).limit(1)).first() is not None:
        raise ConflictError("samples are still being embedded again; curate the dataset when that is done")
    statement = select(models.Task.target, models.Task.revision).where(*embeds, models.Task.revision > 0)
    return {row.target: row.revision for row in connection.execute(statement)}
