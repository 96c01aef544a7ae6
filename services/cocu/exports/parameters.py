"""What is asked of an export."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ExportFormat(StrEnum):
    """webdataset: tars of key.jpg, key.txt, key.json. released: tars whose texts the released trainer reads.

    parquet, jsonl: a table of samples. huggingface: a folder that `datasets` loads. datacomp: the uids of a
    subset, as DataComp's tools read them.
    """

    WEBDATASET = "webdataset"
    RELEASED = "released"
    PARQUET = "parquet"
    JSONL = "jsonl"
    HUGGINGFACE = "huggingface"
    DATACOMP = "datacomp"


WITHOUT_IMAGES = frozenset({ExportFormat.JSONL, ExportFormat.DATACOMP})
"""Formats that never hold images."""


@dataclass(frozen=True, kw_only=True)
class ExportParameters:
    """What the files of an export hold.

    images: whether the images are in them, byte for byte as uploaded. max_concepts: the best of a sample so
    many; None is all. clusters: in the format `released`, whether the third line names the clusters; the
    released trainer wants it empty, as its own archives have it.
    """

    format: ExportFormat = ExportFormat.WEBDATASET
    images: bool = True
    max_concepts: int | None = None
    clusters: bool = False

    @property
    def with_images(self) -> bool:
        """Whether the files hold images."""
        return self.images and self.format not in WITHOUT_IMAGES
