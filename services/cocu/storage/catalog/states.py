"""The words that states, stages and events are stored as."""

from __future__ import annotations

from enum import StrEnum


class DatasetState(StrEnum):
    """A dataset that is being deleted is visible to nobody."""

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


class ChunkState(StrEnum):
    """pending ⇄ running → done, failed or cancelled."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED_CHUNKS = (ChunkState.PENDING, ChunkState.RUNNING)


class Stage(StrEnum):
    """What a chunk of work does; each is a queue of its own."""

    FETCH = "fetch"
    INGEST = "ingest"
    EMBED = "embed"
    INDEX = "index"
    CELLS = "cells"
    NEIGHBOURS = "neighbours"
    GROUP = "group"
    CURATE = "curate"
    PUBLISH = "publish"
    DELETE = "delete"


CURATION_STAGES = (
    Stage.EMBED,
    Stage.INDEX,
    Stage.CELLS,
    Stage.NEIGHBOURS,
    Stage.GROUP,
    Stage.CURATE,
    Stage.PUBLISH,
)
"""In order. `cells` is left out where neighbours are searched exactly."""
SHARED_STAGES = (Stage.EMBED, Stage.INDEX)
"""Done once per dataset and encoder, for every curation that needs them."""

WHOLE = "all"
"""Subject of a stage that is one chunk for the whole curation."""


class Outcome(StrEnum):
    """skipped: not accepted at ingest. failed: accepted, but a later stage could not process it."""

    SKIPPED = "skipped"
    FAILED = "failed"


class EventKind(StrEnum):
    """state: the curation's state changed. progress: a chunk finished. stage: the next stage began."""

    STATE = "state"
    STAGE = "stage"
    PROGRESS = "progress"
