"""The tables of the catalog. The catalog is the only truth about what exists and how far it is.

    datasets ── uploads ── shards ── samples          what was uploaded
       │     │     └────── rejections                 what was not accepted, and why
       │     └── resumable_uploads                    files that arrive in pieces
       ├── curations ── curation_shards               runs, and the snapshot each of them sees
       │       ├── events, evaluations
       └── chunks                                     units of work: one stage of one shard
    vocabularies
    idempotency_keys                                  requests that were answered, and with what
    commits                                           what the connections to a server have last committed

Every row names its tenant, but those of commits. States are plain words; the enumerations beside the queries
list them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cocu.storage.catalog.clock import Instant, database_seconds

Id = String(64)
Name = String(255)
State = String(32)

# SQLite numbers rows by itself only in a column declared INTEGER.
SerialNumber = BigInteger().with_variant(Integer(), "sqlite")


# Sorted by its bytes on both databases, whatever language PostgreSQL was set up for: cursors compare keys.
Key = Text().with_variant(Text(collation="C"), "postgresql")


class Base(DeclarativeBase):
    """Declarative base; constraints are named so that migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # RUF012: SQLAlchemy reads it as a class attribute.
    type_annotation_map = {  # noqa: RUF012
        dict[str, Any]: JSON,
        datetime: Instant,
        str: Text,
        int: BigInteger,
    }


def _created() -> Mapped[datetime]:
    return mapped_column(Instant, default=database_seconds())


class Dataset(Base):
    """Image–caption pairs of one tenant; append-only."""

    __tablename__ = "datasets"
    __table_args__ = (
        # A dataset that is being deleted no longer holds its name.
        Index(
            "uq_datasets_tenant_name",
            "tenant",
            "name",
            unique=True,
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
        Index(None, "tenant", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)
    state: Mapped[str] = mapped_column(State)
    created_at: Mapped[datetime] = _created()


class Upload(Base):
    """One file that was sent in. Its ordinal, given when it is complete, orders the dataset."""

    __tablename__ = "uploads"
    __table_args__ = (
        UniqueConstraint("dataset_id", "name"),
        UniqueConstraint("dataset_id", "ordinal"),
        Index(None, "dataset_id", "id"),
        Index(None, "tenant", "state"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"))
    name: Mapped[str] = mapped_column(Name)
    options: Mapped[dict[str, Any]]
    """How its sender wants it read."""
    reading: Mapped[dict[str, Any] | None]
    """What it turned out to be: its format and, of a table, its columns."""
    state: Mapped[str] = mapped_column(State)
    ordinal: Mapped[int | None]
    object_path: Mapped[str | None]
    bytes: Mapped[int | None]
    received: Mapped[int] = mapped_column(default=0)
    """Bytes that have arrived so far, where the file arrives in pieces or is fetched."""
    source: Mapped[str | None]
    """Where the platform fetches it from; None for a file that is sent in."""
    sha256: Mapped[str | None] = mapped_column(Id)
    accepted: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    created_at: Mapped[datetime] = _created()
    received_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ResumableUpload(Base):
    """A file on its way in pieces: how much of it is safely stored, and until when it is waited for.

    The id names its growing file. A completed one stays until it expires, to tell a client that missed the
    last answer.
    """

    __tablename__ = "resumable_uploads"
    __table_args__ = (Index(None, "tenant", "state"), Index(None, "expires_at"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"), index=True)
    upload_id: Mapped[str] = mapped_column(Id, ForeignKey("uploads.id"), index=True)
    state: Mapped[str] = mapped_column(State)
    length: Mapped[int]
    offset: Mapped[int] = mapped_column(default=0)
    sha256: Mapped[str | None] = mapped_column(Id)
    """What the whole file must have, where the client said."""
    description: Mapped[str]
    """Upload-Metadata as it was sent."""
    created_at: Mapped[datetime] = _created()
    expires_at: Mapped[datetime]


class Shard(Base):
    """At most 10,000 accepted samples in a tar of our own. The id contains the hash of its content."""

    __tablename__ = "shards"
    __table_args__ = (UniqueConstraint("dataset_id", "upload_ordinal", "number"), Index(None, "tenant"))

    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"), primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    upload_id: Mapped[str] = mapped_column(Id, ForeignKey("uploads.id"), index=True)
    upload_ordinal: Mapped[int]
    number: Mapped[int]
    samples: Mapped[int]
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(Id)


class Sample(Base):
    """Where a key of a dataset lies. Everything else about a sample is in the shard's sample table."""

    __tablename__ = "samples"
    __table_args__ = (
        ForeignKeyConstraint(["dataset_id", "shard_id"], ["shards.dataset_id", "shards.id"]),
        Index(None, "dataset_id", "shard_id"),
    )

    dataset_id: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(Key, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    upload_ordinal: Mapped[int]
    shard_id: Mapped[str] = mapped_column(Id)
    row: Mapped[int]


class Rejection(Base):
    """A sample, or a member of an upload, that was not accepted (skipped) or could not be processed (failed).

    scope tells which work reported it, so that doing the work again replaces it: "" for ingest, else an
    encoder hash.
    """

    __tablename__ = "rejections"
    __table_args__ = (
        Index(None, "dataset_id", "id"),
        Index(None, "dataset_id", "reason", "id"),
        Index(None, "upload_id", "scope"),
        Index(None, "retried_by"),
    )

    id: Mapped[int] = mapped_column(SerialNumber, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"))
    upload_id: Mapped[str] = mapped_column(Id, ForeignKey("uploads.id"))
    shard_id: Mapped[str | None] = mapped_column(Id)
    scope: Mapped[str] = mapped_column(Id)
    outcome: Mapped[str] = mapped_column(State)
    reason: Mapped[str] = mapped_column(Name)
    key: Mapped[str | None]
    member: Mapped[str | None]
    detail: Mapped[str]
    link: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The row of a table (key, url, caption, metadata) whose image a later attempt may get."""
    retried_by: Mapped[str | None] = mapped_column(Id)
    """The upload that fetches it again, and takes its place when it is ingested."""


class Vocabulary(Base):
    """A version of a vocabulary; its document is an object named by its hash."""

    __tablename__ = "vocabularies"
    __table_args__ = (UniqueConstraint("tenant", "name", "version"),)

    tenant: Mapped[str] = mapped_column(Name, primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Name)
    version: Mapped[str] = mapped_column(Name)
    hash: Mapped[str] = mapped_column(Id)
    source: Mapped[str] = mapped_column(State)
    concepts: Mapped[int]
    created_at: Mapped[datetime] = _created()


class Curation(Base):
    """One run. Everything its result depends on is fixed when it is created."""

    __tablename__ = "curations"
    __table_args__ = (Index(None, "tenant", "created_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"), index=True)
    snapshot_hash: Mapped[str] = mapped_column(Id)
    samples: Mapped[int]
    encoder: Mapped[str] = mapped_column(Name)
    encoder_hash: Mapped[str] = mapped_column(Id)
    vocabulary_id: Mapped[str] = mapped_column(Id)
    vocabulary_hash: Mapped[str] = mapped_column(Id)
    parameters: Mapped[dict[str, Any]]
    parameters_hash: Mapped[str] = mapped_column(Id)
    state: Mapped[str] = mapped_column(State, index=True)
    stage: Mapped[str] = mapped_column(State)
    content_hash: Mapped[str | None] = mapped_column(Id)
    statistics: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = _created()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class CurationShard(Base):
    """A shard of the snapshot that a curation sees: its samples are the global rows from first_row on."""

    __tablename__ = "curation_shards"
    __table_args__ = (UniqueConstraint("curation_id", "ordinal"),)

    curation_id: Mapped[str] = mapped_column(Id, ForeignKey("curations.id"), primary_key=True)
    shard_id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    ordinal: Mapped[int]
    first_row: Mapped[int]
    samples: Mapped[int]
    sha256: Mapped[str] = mapped_column(Id)
    revision: Mapped[int] = mapped_column(default=0)
    """How often its embeddings had been mended when the run was created."""
    usable: Mapped[bool] = mapped_column(default=False)
    """Whether it was embedded when the run went on: decided once, for every later stage."""
    content_hash: Mapped[str | None] = mapped_column(Id)
    """Of its archives."""


class Chunk(Base):
    """One stage of one subject: what a worker takes, leases and finishes.

    scope is what the work is done for once: "" for ingest, an encoder hash for embed and index, else a
    curation id. attempts counts the leases taken, failures those that ended in an error; the rest were lost
    with their workers. asked: somebody wants it done although no curation needs it now. revision counts how
    often a repetition got a better result.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        UniqueConstraint("dataset_id", "scope", "stage", "subject"),
        Index(None, "state", "lease_until"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"))
    scope: Mapped[str] = mapped_column(Id)
    stage: Mapped[str] = mapped_column(State)
    subject: Mapped[str] = mapped_column(Id)
    curation_id: Mapped[str | None] = mapped_column(Id, ForeignKey("curations.id"), index=True)
    state: Mapped[str] = mapped_column(State)
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(Name)
    lease_until: Mapped[float] = mapped_column(default=0.0)
    """While running: when the lease ends. While pending: until when its message is trusted to be queued."""
    not_before: Mapped[float] = mapped_column(default=0.0)
    units_total: Mapped[int] = mapped_column(default=0)
    units_done: Mapped[int] = mapped_column(default=0)
    asked: Mapped[bool] = mapped_column(default=False)
    revision: Mapped[int] = mapped_column(default=0)
    leased_at: Mapped[float] = mapped_column(default=0.0)
    seconds: Mapped[float | None]
    """How long the lease under which it was done took: what estimates are made of."""
    error: Mapped[str | None]


class Event(Base):
    """Something that happened to a curation, in order; what the event stream sends."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "curation_id", "id"),)

    id: Mapped[int] = mapped_column(SerialNumber, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(Name)
    curation_id: Mapped[str] = mapped_column(Id, ForeignKey("curations.id"))
    kind: Mapped[str] = mapped_column(State)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _created()


class Evaluation(Base):
    """The metrics of a curation against one set of labels."""

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    curation_id: Mapped[str] = mapped_column(Id, ForeignKey("curations.id"), index=True)
    labels_hash: Mapped[str] = mapped_column(Id)
    parameters: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _created()


class IdempotencyKey(Base):
    """A request that was made under a key, and once it is answered (status is not null) its answer."""

    __tablename__ = "idempotency_keys"

    tenant: Mapped[str] = mapped_column(Name, primary_key=True)
    key: Mapped[str] = mapped_column(Name, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Id)
    owner: Mapped[str] = mapped_column(Id)
    claimed_until: Mapped[datetime]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Commit(Base):
    """The last transaction that a connection to a server has committed, for when its answer is lost."""

    __tablename__ = "commits"

    connection: Mapped[str] = mapped_column(Id, primary_key=True)
    token: Mapped[str] = mapped_column(Id)
    made_at: Mapped[datetime]
