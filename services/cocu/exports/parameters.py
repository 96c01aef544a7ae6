"""The parameters of an export."""

from __future__ import annotations

from dataclasses import dataclass

from cocu.schemas import ExportFormat

WITHOUT_IMAGES = frozenset[ExportFormat]({"jsonl", "datacomp"})
"""Formats that never contain images."""


@dataclass(frozen=True, kw_only=True)
class ExportParameters:
    """What the files of an export contain.

    images: whether they contain the images, byte for byte as uploaded. max_concepts: only so many of the best
    concepts of each sample; None is all. clusters: in the format `released`, whether the third line names the
    clusters; the released trainer expects it empty, as in its own archives.
    """

    format: ExportFormat = "webdataset"
    images: bool = True
    max_concepts: int | None = None
    clusters: bool = False

    @property
    def with_images(self) -> bool:
        """Whether the files contain images."""
        return self.images and self.format not in WITHOUT_IMAGES
