"""Exports: the files that a curation comes to in some format."""

from __future__ import annotations

from typing import Any, Literal

from cocu.client.models.base import Answer

ExportFormat = Literal["webdataset", "released", "parquet", "jsonl", "huggingface", "datacomp"]


class ExportFile(Answer):
    """A file of an export.

    url: where it is to be had, relative to the platform. etag: equal ones mean equal bytes. shard: the id of
    the shard whose samples it holds; sha256 and content_hash are those of that shard and of its archives.
    """

    name: str
    url: str
    etag: str
    samples: int
    media_type: str
    shard: str | None = None
    sha256: str | None = None
    content_hash: str | None = None


class ExportManifest(Answer):
    """What an export consists of and what it was made of: enough to come to the same curation again."""

    curation: str
    dataset: str
    content_hash: str
    snapshot: str
    samples: int
    encoder: str
    encoder_hash: str
    vocabulary: str
    vocabulary_hash: str
    parameters: dict[str, Any]
    format: ExportFormat
    images: bool
    max_concepts: int | None = None
    clusters: bool = False
    files: list[ExportFile]
