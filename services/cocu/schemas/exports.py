"""Exports: the files of a curation in one format."""

from __future__ import annotations

from typing import Any, Literal

from cocu.schemas.base import Link, ResponseModel

ExportFormat = Literal["webdataset", "released", "parquet", "jsonl", "huggingface", "datacomp"]
"""webdataset: tars of key.jpg, key.txt, key.json. released: tars whose texts the released trainer reads.

parquet, jsonl: a table of samples. huggingface: a folder that `datasets` loads. datacomp: the uids of a
subset for DataComp's tools.
"""


class ExportFile(ResponseModel):
    """A file of an export.

    url: relative to the URL of the manifest. etag: equal ones mean equal bytes. shard: the id of the shard
    whose samples it contains; sha256 is the hash of this shard, content_hash that of its archives.
    """

    name: str
    url: Link
    etag: str
    samples: int
    media_type: str
    shard: str | None = None
    sha256: str | None = None
    content_hash: str | None = None


class ExportManifest(ResponseModel):
    """The files of an export, and the inputs of its curation: enough to compute the same curation again."""

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
