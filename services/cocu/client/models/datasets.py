"""Datasets, their uploads and what became of every sample."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from cocu.client.models.base import Answer, Request

UploadState = Literal["receiving", "received", "ingested", "failed"]
"""Arriving, waiting to be read, turned into shards, or not usable (`detail` says why)."""


class DatasetCreate(Request):
    """A new dataset; its name must not be that of another."""

    name: str = Field(min_length=1, max_length=200, examples=["holiday photographs"])


class Dataset(Answer):
    """Image–caption pairs; append-only. Counts grow as uploads are ingested.

    `ingesting` counts the uploads that have arrived, or are being fetched, and are not yet read.
    """

    id: str
    name: str
    created_at: datetime
    uploads: int = 0
    ingesting: int = 0
    shards: int = 0
    samples: int = 0
    bytes: int = 0


UploadFormat = Literal["tar", "tar.gz", "tar.zst", "zip", "parquet", "csv", "tsv", "clip-retrieval"]


class UploadOptions(Request):
    """How an upload is to be read; nothing needs to be said where the usual is right.

    format: detected where it is not given. captions: which ones of an image that has several become samples:
    the first, one drawn by the sample's key, or all (with keys `key-0`, `key-1`, …). key_column,
    image_column, url_column, caption_column: of Parquet, CSV and TSV, where they do not have usual names; of
    a CSV or TSV without a header their numbers, from 0 on. short_side: pictures whose shorter side has more
    pixels are made this small and written as JPEG of quality 90; without it images are kept byte by byte.
    fetch: images that are given by URL alone are fetched. encoder: name of the encoder that made the
    embeddings in the file, a tar or zip in clip-retrieval's layout (img_emb/*.npy, metadata/*.parquet), which
    then stand in for images; keys are taken from the metadata's key_column, else its `key`, `__key__`, `uid`
    or `id`, else from `image_path` without its ending.
    """

    # They travel in a URL, where everything is text.
    model_config = ConfigDict(strict=False)

    format: UploadFormat | None = None
    captions: Literal["first", "random", "all"] = "first"
    key_column: str | None = Field(default=None, max_length=200)
    image_column: str | None = Field(default=None, max_length=200)
    url_column: str | None = Field(default=None, max_length=200)
    caption_column: str | None = Field(default=None, max_length=200)
    short_side: int | None = Field(default=None, ge=16, le=8192, examples=[256])
    fetch: bool = False
    encoder: str | None = Field(default=None, max_length=200)


class Upload(Answer):
    """One file put into a dataset; `sha256` (hex) and `bytes` are those of the whole file.

    `ordinal` orders the uploads of a dataset: of two samples with one key, that of the earlier upload stays.
    `format` and, of a table, `columns` (by role: key, image, url, caption) are what the file turned out to
    be, once it is read. `received` counts the bytes that have come so far; `source` is where the platform
    fetches it from.
    """

    name: str
    dataset: str
    state: UploadState
    ordinal: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    received: int = 0
    source: str | None = None
    accepted: int = 0
    format: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    detail: str | None = None
    created_at: datetime


class ImportCreate(Request):
    """Files that the platform is to fetch: one URL, several, or what lies under an s3:// prefix.

    name: of the upload, where one URL is given; without it the last part of the URL. options: how to read
    the files.
    """

    url: str | None = Field(default=None, max_length=8192, examples=["https://example.org/photos.tar"])
    urls: list[Annotated[str, Field(max_length=8192)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    s3: str | None = Field(default=None, max_length=1024)
    name: str | None = Field(default=None, max_length=200, pattern=r"^[\w][\w .()+,=@-]*$")
    options: UploadOptions = UploadOptions()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(each is not None for each in (self.url, self.urls, self.s3)) != 1:
            raise ValueError("give one of url, urls and s3")
        if self.name is not None and self.url is None:
            raise ValueError("name is for one url")
        return self


class Import(Answer):
    """Uploads that are being fetched; the list of uploads shows how far each is."""

    dataset: str
    uploads: list[Upload]


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


class Retries(Answer):
    """What is tried again: failed uploads whose files had arrived, or that the platform fetches, by name.

    unsent: failed uploads whose files did not arrive; send them again. rows: of tables with URLs, whose
    images are fetched again. samples: that are embedded again.
    """

    uploads: list[str]
    unsent: list[str]
    rows: int = 0
    samples: int = 0


class Rejection(Answer):
    """One sample, or one member of an upload, that was skipped or failed, and why."""

    upload: str
    outcome: str
    key: str | None
    member: str | None
    reason: str
    detail: str


class Sample(Answer):
    """One image with its caption; `sha256` (hex) and `bytes` are those of the image.

    key: unique in the dataset, of at most 500 bytes in UTF-8.
    Of a sample that came as an embedding, without its picture, `bytes` is 0, and size and paths are null.
    """

    dataset: str
    key: str
    caption: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str | None
    shard: str
    row: int
    image: str | None = Field(description="Path of the image as stored.")
    thumbnail: str | None = Field(description="Path of a small version of the image.")
