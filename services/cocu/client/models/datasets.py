"""Datasets, their uploads and what became of every sample."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from cocu.client.models.common import Answer, Request

UploadState = Literal["waiting", "running", "completed", "failed"]


class DatasetCreate(Request):
    """A new dataset; names need not be unique."""

    name: str = Field(min_length=1, max_length=200, examples=["holiday photographs"])


class Dataset(Answer):
    """Image–caption pairs; append-only. Counts grow as uploads are ingested."""

    id: str
    name: str
    created_at: datetime
    samples: int = 0
    skipped: int = 0
    shards: int = 0
    uploads: int = 0


class Upload(Answer):
    """One file put into a dataset; `digest` is the hex SHA-256 of its bytes."""

    name: str
    dataset: str
    ordinal: int
    size: int
    digest: str
    state: UploadState
    accepted: int = 0
    skipped: int = 0
    detail: str | None = None
    created_at: datetime


class Report(Answer):
    """What became of the samples of a dataset; `reasons` counts the skipped by reason code.

    `complete` says whether every upload has been ingested: until then the counts still grow.
    """

    dataset: str
    complete: bool
    accepted: int
    skipped: int
    failed_uploads: int
    reasons: dict[str, int]
    uploads: list[Upload]


class Rejection(Answer):
    """One sample, or one member of an upload, that was skipped, and why."""

    upload: str
    key: str | None
    member: str | None
    reason: str
    detail: str


class Sample(Answer):
    """One image with its caption; `concepts` names what the caption mentions where that is known."""

    dataset: str
    key: str
    caption: str
    width: int
    height: int
    size: int
    sha256: str
    shard: str
    row: int
    image: str = Field(description="Path of the image as stored.")
    thumbnail: str = Field(description="Path of a small version of the image.")
