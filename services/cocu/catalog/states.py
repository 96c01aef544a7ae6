"""The words that are stored for states, stages and events."""

from __future__ import annotations

from enum import StrEnum


class DatasetState(StrEnum):
    """No user sees a dataset that is being deleted."""

    ACTIVE = "active"
    DELETING = "deleting"


class UploadState(StrEnum):
    """receiving → received → ingested, or failed with the reason in `error`."""

    RECEIVING = "receiving"
    RECEIVED = "received"
    INGESTED = "ingested"
    FAILED = "failed"


class ResumableState(StrEnum):
    """open → completed, or expired."""

    OPEN = "open"
    COMPLETED = "completed"
    EXPIRED = "expired"


class CurationState(StrEnum):
    """queued → running → one of the others. Some shards may have failed in `completed_with_errors`."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE_CURATIONS = (CurationState.QUEUED, CurationState.RUNNING)
COMPLETED_CURATIONS = (CurationState.COMPLETED, CurationState.COMPLETED_WITH_ERRORS)


class TaskState(StrEnum):
    """pending ⇄ running → done, failed or cancelled."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED_TASKS = (TaskState.PENDING, TaskState.RUNNING)


class Stage(StrEnum):
    """The names of the stages; the table in `cocu.pipeline.stages` says what each does."""

    FETCH = "fetch"
    INGEST = "ingest"
    EMBED = "embed"
    INDEX = "index"
    IVF = "ivf"
    NEIGHBOURS = "neighbours"
    AGGREGATE = "aggregate"
    CURATE = "curate"
    PUBLISH = "publish"
    INDEX_CONCEPTS = "index_concepts"
    PROJECT = "project"
    DELETE = "delete"


class Outcome(StrEnum):
    """skipped: not accepted at ingest. failed: accepted, but a later stage could not process it."""

    SKIPPED = "skipped"
    FAILED = "failed"


class EventKind(StrEnum):
    """state: the curation's state changed. progress: a task finished. stage: the next stage began.

    upload: the state of an upload changed. projection: that of a projection.
    """

    STATE = "state"
    STAGE = "stage"
    PROGRESS = "progress"
    UPLOAD = "upload"
    PROJECTION = "projection"
