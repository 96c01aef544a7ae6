"""Datasets, their uploads, and the report on their samples."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from cocu.schemas.base import Link, Name, Page, Request, ResponseModel, Word
from cocu.schemas.formats import UploadFormat

ThumbnailSize = Literal[96, 256, 512]
"""Pixels of the longer side of thumbnails; those of smaller images are as large as the image."""
THUMBNAIL_SIZES: Final[tuple[ThumbnailSize, ...]] = get_args(ThumbnailSize)

UploadState = Literal["receiving", "received", "ingested", "failed"]
"""Arriving, waiting to be read, stored as shards, or not usable (`detail` says why)."""


class DatasetCreate(Request):
    """A new dataset; no other dataset may have the same name."""

    name: Name = Field(examples=["holiday photographs"])


class Dataset(ResponseModel):
    """Image–caption pairs; append-only. Counts grow as uploads are ingested.

    `ingesting` counts the uploads that have arrived or are being fetched, and are not read yet; `receiving`
    those that clients still send; `failed` those that could not be used.
    """

    id: str
    name: str
    created_at: datetime
    uploads: int = 0
    ingesting: int = 0
    receiving: int = 0
    failed: int = 0
    shards: int = 0
    samples: int = 0
    bytes: int = 0


class UploadOptions(Request):
    """How to read an upload; the defaults fit common files.

    format: detected by default. captions: which captions of an image with several become samples: the first,
    one drawn by the sample's key, or all (with keys `key-0`, `key-1`, …). key_column, image_column,
    url_column, caption_column: columns of Parquet, CSV and TSV with uncommon names; for a CSV or TSV without
    a header their numbers, from 0. short_side: images whose shorter side has more pixels are reduced to it
    and written as JPEG of quality 90; by default images are stored unchanged. fetch: whether images given
    only by URL are fetched. encoder: name of the encoder of the embeddings in the file, a tar or zip in
    clip-retrieval's layout (img_emb/*.npy, metadata/*.parquet), which replace images; keys come from the
    metadata's key_column, else its `key`, `__key__`, `uid` or `id`, else from `image_path` without ending.
    """

    # Not strict: these options are sent in a URL, where every value is text.
    model_config = ConfigDict(strict=False)

    format: UploadFormat | None = None
    captions: Literal["first", "random", "all"] = "first"
    key_column: Word | None = None
    image_column: Word | None = None
    url_column: Word | None = None
    caption_column: Word | None = None
    short_side: int | None = Field(default=None, ge=16, le=8192, examples=[256])
    fetch: bool = False
    encoder: Word | None = None


class Upload(ResponseModel):
    """One file uploaded into a dataset; `sha256` (hex) and `bytes` are those of the whole file.

    `ordinal` orders the uploads of a dataset: of two samples with the same key, the one of the earlier upload
    is kept. `format` and, for a table, `columns` (by role: key, image, url, caption) are detected when the
    file is read; `notes` counts what was decided, guessed or lost (see `Report`). `received` counts the bytes
    that have arrived; `source` is the URL from which the platform fetches the file.
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
    notes: dict[str, int] = Field(default_factory=dict)
    detail: str | None = None
    created_at: datetime


class ImportCreate(Request):
    """Files that the platform fetches: from one URL, from several, or from an s3:// prefix.

    name: of the upload, for a single URL; by default the last part of the URL. options: how to read the
    files.
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
        if sum(source is not None for source in (self.url, self.urls, self.s3)) != 1:
            raise ValueError("give one of url, urls and s3")
        if self.name is not None and self.url is None:
            raise ValueError("name is for one url")
        return self


class Import(ResponseModel):
    """Uploads that are being fetched; the list of uploads shows their progress."""

    dataset: str
    uploads: list[Upload]


class Report(ResponseModel):
    """How many samples of a dataset were accepted, skipped or failed, and why.

    complete: every upload was read or has failed; until then the counts grow, and `awaited` names the uploads
    (at most 100) that are still arriving, being fetched or being read. upload_failures: reasons by the name
    of the upload; at most 100. skipped: samples, or members of an upload, that were not accepted; `reasons`
    counts them by reason code. failed: accepted samples that a later stage could not process; `failures`
    counts them by reason code. notes: what was decided, guessed or lost while files were read, also for
    accepted samples, and how often: `encoding_guessed: cp1252` texts that were not UTF-8, `characters_lost`
    (replaced by U+FFFD), `table: separator ';', …` tables with this dialect.
    """

    dataset: str
    complete: bool
    awaited: list[str] = Field(default_factory=list)
    uploads: int
    uploads_failed: int
    upload_failures: dict[str, str] = Field(default_factory=dict)
    accepted: int
    skipped: int
    failed: int
    reasons: dict[str, int]
    failures: dict[str, int]
    notes: dict[str, int] = Field(default_factory=dict)


class Retries(ResponseModel):
    """What is retried: by name, failed uploads whose files have arrived or that the platform fetches.

    unsent: failed uploads whose files did not arrive; send them again. rows: number of rows with URLs whose
    images are fetched again. samples: number of samples that are embedded again.
    """

    uploads: list[str]
    unsent: list[str]
    rows: int = 0
    samples: int = 0


class Rejection(ResponseModel):
    """One sample, or one member of an upload, that was skipped or failed, and why."""

    upload: str
    outcome: str
    key: str | None
    member: str | None
    reason: str
    detail: str


class Sample(ResponseModel):
    """One image with its caption; `sha256` (hex) and `bytes` are those of the image.

    key: unique in the dataset, at most 500 bytes in UTF-8.
    For a sample that was uploaded as an embedding, without its image, `bytes` is 0, and size and links are
    null. `row` is its row in its shard; `global_row` its row in the dataset, where the rows of all shards are
    numbered one after the other from 0.
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
    global_row: int | None = None
    image: Link | None = Field(description="URL of the image as stored.")
    thumbnail: Link | None = Field(description="URL of a small version of the image.")


SampleOrder = Literal["key", "row"]
"""By key, or by row: as they were uploaded."""


class SamplePage(Page[Sample]):
    """A part of the samples of a dataset. With words to look for, a page with a `next` can be short or empty.

    total: the samples of the whole list; null where they are selected by words, which are not counted.
    """

    total: int | None = None
