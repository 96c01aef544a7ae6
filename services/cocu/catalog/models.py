"""The tables of the catalog. The catalog alone says what exists and in which state.

    datasets ── uploads ── shards ── samples          what was uploaded
       │     │     └────── rejections                 what was not accepted, and why
       │     └── resumable_uploads                    files that arrive in pieces
       ├── curations ── curation_shards               runs, and the snapshot each of them sees
       │       ├── events, evaluations, judgements
       ├── projections                                maps of its images (in `projection_model`)
       ├── label_sets                                 labels of samples (in `known_models`, as judgements)
       └── tasks                                      units of work: one stage of one shard
    vocabularies ── feedback                          what people said about concepts
    idempotency_keys                                  requests that were answered, and with what
    commits                                           the last transaction of each connection to a server

Every row names its tenant, except those of commits. States are plain words; `states` lists them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cocu.catalog.base import Base, Id, Key, Name, SerialNumber, State, created
from cocu.catalog.known_models import Judgement, LabelSet
from cocu.catalog.projection_model import Projection

__all__ = [
    "Commit", "Curation", "CurationShard", "Dataset", "Evaluation", "Event", "Feedback", "IdempotencyKey",
    "Judgement", "LabelSet", "Projection", "Rejection", "ResumableUpload", "Sample", "Shard", "Task",
    "Upload", "Vocabulary",
]  # fmt: skip


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
    created_at: Mapped[datetime] = created()


class Upload(Base):
    """One uploaded file. Its ordinal, assigned when it is complete, orders the dataset."""

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
    """What ingest detected: its format and, of a table, its columns."""
    state: Mapped[str] = mapped_column(State)
    ordinal: Mapped[int | None]
    object_path: Mapped[str | None]
    bytes: Mapped[int | None]
    received: Mapped[int] = mapped_column(default=0)
    """Bytes that have arrived so far, where the file arrives in pieces or is fetched."""
    source: Mapped[str | None]
    """The URL that the platform fetches it from; None for a file that a client sends."""
    claimed_until: Mapped[datetime | None]
    """While it is received in one piece: until when the claim of its process is valid."""
    source_digest: Mapped[str | None] = mapped_column(Id)
    """Hash of the complete source, where that is no longer stored (see `sources`)."""
    sha256: Mapped[str | None] = mapped_column(Id)
    accepted: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    created_at: Mapped[datetime] = created()
    received_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ResumableUpload(Base):
    """A file that arrives in pieces: how much of it is safely stored, and when it expires.

    The id names its file (see `storage.partial_upload`). A completed one stays until it expires, so that a
    client that missed the last answer can ask again.
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
    """The hash that the complete file must have, where the client sent one."""
    description: Mapped[str]
    """Upload-Metadata as it was sent."""
    created_at: Mapped[datetime] = created()
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
    """Where a key of a dataset is stored. Everything else about a sample is in the shard's sample table."""

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

    owner_key tells which work reported it, so that doing the work again replaces it: "" for ingest, else an
    encoder hash.
    """

    __tablename__ = "rejections"
    __table_args__ = (
        Index(None, "dataset_id", "id"),
        Index(None, "dataset_id", "reason", "id"),
        Index(None, "upload_id", "owner_key"),
        Index(None, "retried_by"),
    )

    id: Mapped[int] = mapped_column(SerialNumber, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"))
    upload_id: Mapped[str] = mapped_column(Id, ForeignKey("uploads.id"))
    shard_id: Mapped[str | None] = mapped_column(Id)
    owner_key: Mapped[str] = mapped_column(Id)
    outcome: Mapped[str] = mapped_column(State)
    reason: Mapped[str] = mapped_column(Name)
    key: Mapped[str | None]
    member: Mapped[str | None]
    detail: Mapped[str]
    link: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The row of a table (key, url, caption, metadata) whose image a later attempt may fetch."""
    retried_by: Mapped[str | None] = mapped_column(Id)
    """The upload that fetches it again; once that is ingested it replaces this row."""


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
    created_at: Mapped[datetime] = created()


class Feedback(Base):
    """What somebody said about a concept of a vocabulary; `replaced` is what it said before."""

    __tablename__ = "feedback"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "vocabulary_id"], ["vocabularies.tenant", "vocabularies.id"], ondelete="CASCADE"
        ),
    )

    tenant: Mapped[str] = mapped_column(Name, primary_key=True)
    vocabulary_id: Mapped[str] = mapped_column(Id, primary_key=True)
    concept: Mapped[str] = mapped_column(Key, primary_key=True)
    action: Mapped[str] = mapped_column(State)
    into: Mapped[str | None]
    note: Mapped[str | None]
    author: Mapped[str | None]
    replaced: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = created()


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
    left_out: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """By name: why uploads of the dataset are not in it."""
    error: Mapped[str | None]
    threshold: Mapped[float | None] = mapped_column(Double)
    """The score from which a concept counts as added, where somebody set it. No part of the result."""
    created_at: Mapped[datetime] = created()
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
    """How often its embeddings had been replaced when the run was created."""
    usable: Mapped[bool] = mapped_column(default=False)
    """Whether it has embeddings; decided once per run, so that all later stages agree."""
    content_hash: Mapped[str | None] = mapped_column(Id)
    """Of its archives."""


class Task(Base):
    """One stage of one target: what a worker takes, leases and finishes.

    owner_key says for what the work is done once: "" for ingest, an encoder hash for embed and index, else a
    curation id. attempts counts the leases, failures those that ended in an error; the others were lost with
    their workers. requested: a user wants it done although no curation needs it now. revision counts how
    often the result was replaced by a better one.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("dataset_id", "owner_key", "stage", "target"),
        Index(None, "dataset_id", "owner_key", "stage", "state"),
        Index(None, "state", "lease_until"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"))
    owner_key: Mapped[str] = mapped_column(Id)
    stage: Mapped[str] = mapped_column(State)
    target: Mapped[str] = mapped_column(Id)
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
    requested: Mapped[bool] = mapped_column(default=False)
    revision: Mapped[int] = mapped_column(default=0)
    leased_at: Mapped[float] = mapped_column(default=0.0)
    seconds: Mapped[float | None]
    """Duration of the lease under which it was done; estimates use it."""
    error: Mapped[str | None]


class Event(Base):
    """Something that happened to a curation or to an upload, in order; what the event streams send.

    An id is never given twice: readers go on after the last one that they have.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "curation_id", "id"),
        Index(None, "tenant", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(SerialNumber, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(Name)
    curation_id: Mapped[str | None] = mapped_column(Id, ForeignKey("curations.id"))
    dataset_id: Mapped[str | None] = mapped_column(Id, ForeignKey("datasets.id"), index=True)
    """Of an upload's event; the dataset of a curation's event is that of the curation."""
    kind: Mapped[str] = mapped_column(State)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = created()


class Evaluation(Base):
    """The metrics of a curation against one set of labels."""

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    curation_id: Mapped[str] = mapped_column(Id, ForeignKey("curations.id"), index=True)
    labels_hash: Mapped[str] = mapped_column(Id)
    parameters: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = created()


class IdempotencyKey(Base):
    """A request with an Idempotency-Key; its answer, once it is answered (status is not null)."""

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
    """The last transaction of a connection to a server: shows whether a commit without answer succeeded."""

    __tablename__ = "commits"

    connection: Mapped[str] = mapped_column(Id, primary_key=True)
    token: Mapped[str] = mapped_column(Id)
    made_at: Mapped[datetime]
