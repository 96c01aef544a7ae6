"""How much of everything the catalog holds, over all tenants: what monitoring asks every few seconds.

It reads chunks, shards and curations, of which a sample is a ten-thousandth; never samples or rejections.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, func, select

from cocu.storage.catalog import models
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.states import ChunkState


@dataclass(frozen=True)
class ChunkCount:
    """The chunks of one stage in one state.

    samples: those in them, where the number is known before the work. repeats: attempts beyond the first of
    each. waiting_seconds: for how long the longest of those that may run has not been put into the queue
    again; 0 where none waits.
    """

    stage: str
    state: str
    chunks: int
    samples: int
    repeats: int
    waiting_seconds: float


@dataclass(frozen=True)
class Census:
    """One moment of the catalog. curations: their number by state; samples: those accepted at ingest."""

    chunks: tuple[ChunkCount, ...]
    curations: dict[str, int]
    samples: int


def take(catalog: Catalog) -> Census:
    """Counts, in one transaction and without trying again. Raises UnavailableError."""
    with catalog.read() as connection:
        curations = select(models.Curation.state, func.count()).group_by(models.Curation.state)
        samples = select(func.coalesce(func.sum(models.Shard.samples), 0))
        return Census(
            chunks=tuple(_chunks(connection)),
            curations={state: int(count) for state, count in connection.execute(curations)},
            samples=int(connection.execute(samples).scalar_one()),
        )


def _chunks(connection: Connection) -> list[ChunkCount]:
    now = connection.execute(select(database_seconds())).scalar_one()
    sent, due = models.Chunk.lease_until, models.Chunk.not_before
    since = case((sent > due, sent), else_=due)
    # Of a chunk that was handed back and not sent again yet, neither is known.
    waits = and_(models.Chunk.state == ChunkState.PENDING, due <= now, since > 0)
    repeats = case((models.Chunk.attempts > 1, models.Chunk.attempts - 1), else_=0)
    statement = select(
        models.Chunk.stage,
        models.Chunk.state,
        func.count().label("chunks"),
        func.sum(models.Chunk.units_total).label("samples"),
        func.sum(repeats).label("repeats"),
        func.min(case((waits, since))).label("since"),
    ).group_by(models.Chunk.stage, models.Chunk.state)
    return [
        ChunkCount(
            stage=row.stage,
            state=row.state,
            chunks=int(row.chunks),
            samples=int(row.samples),
            repeats=int(row.repeats),
            waiting_seconds=0.0 if row.since is None else max(0.0, float(now) - float(row.since)),
        )
        for row in connection.execute(statement)
    ]
