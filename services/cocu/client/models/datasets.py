"""Datasets, their uploads and what became of every sample."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from cocu.client.models.base import Answer, Request

UploadState = Literal["receiving", "received", "ingested", "failed"]
"""Arriving, waiting to be read, turned into shards, or not usable (`detail` says why)."""


class DatasetCreate(Request):
    """A new dataset; its name must not be that of another."""

    name: str = Field(min_length=1, max_length=200, examples=["holiday photographs"])


class Dataset(Answer):
    """Image–caption pairs; append-only. Counts grow as uploads are ingested.

    `ingesting` counts the uploads that have arrived and are not yet read.
    """

    id: str
    name: str
    created_at: datetime
    uploads: int = 0
    ingesting: int = 0
    shards: int = 0
    samples: int = 0
    bytes: int = 0


class Upload(Answer):
    """One file put into a dataset; `sha256` (hex) and `bytes` are those of the whole file.

    `ordinal` orders the uploads of a dataset: of two samples with one key, that of the earlier upload stays.
    """

    name: str
    dataset: str
    state: UploadState
    ordinal: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    accepted: int = 0
    detail: str | None = None
    created_at: datetime


class Report(Answer):
    """What became of the samples of a dataset.

    complete: every upload that arrived has been read; until then the counts grow. skipped: samples, or
    members of an upload, that were not accepted, `reasons` counts them by reason code. failed: accepted
    samples that a later stage could not process, `failures` counts them by reason code.
    """

    dataset: str
    complete: bool
    uploads: int
    uploads_failed: int
    accepted: int
    skipped: int
    failed: int
    reasons: dict[str, int]
    failures: dict[str, int]


class Rejection(Answer):
    """One sample, or one member of an upload, that was skipped or failed, and why."""

    upload: str
    outcome: str
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
    bytes: int
    sha256: str
    shard: str
    row: int
    image: str = Field(description="Path of the image as stored.")
    thumbnail: str = Field(description="Path of a small version of the image.")
