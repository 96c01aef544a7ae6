"""Evaluations: archives measured against human labels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, model_validator

from cocu.schemas.base import Request, ResponseModel

LABELS_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""What labels that are kept may be called."""

CocoId = int | Annotated[str, Field(max_length=400)]
"""Tools write numbers or texts; 7 and "7" are equal."""


class CocoImage(ResponseModel):
    """An image of a COCO annotation file; its file name is the path of a sample's image or its end."""

    id: CocoId
    file_name: str = Field(max_length=4096)


class CocoSegment(ResponseModel):
    """A segment of a panoptic annotation."""

    category_id: CocoId


class CocoAnnotation(ResponseModel):
    """An annotation of a COCO file; boxes and masks are ignored.

    category_id: for an instance. segments_info: for a panoptic annotation. An annotation with neither (a
    caption) is skipped.
    """

    image_id: CocoId
    category_id: CocoId | None = None
    segments_info: list[CocoSegment] | None = None

    @property
    def categories(self) -> list[CocoId]:
        """All categories that it assigns to the image."""
        own = [] if self.category_id is None else [self.category_id]
        return own + [segment.category_id for segment in self.segments_info or ()]


class CocoCategory(ResponseModel):
    """A class of a COCO annotation file."""

    id: CocoId
    name: str = Field(max_length=400)


class CocoInstances(ResponseModel):
    """The part of a COCO instances or panoptic file that assigns categories to images."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class EvaluationCreate(Request):
    """Labels to measure against, from exactly one source.

    labels: a table of sample key, or path of its image → labels. instances: a COCO instances file. kept: the
    name of labels that the dataset keeps. label_map: name of a shipped map of labels to concepts; null finds
    concepts by the labels' names, and leaves kept labels with the map that they are kept with.
    """

    labels: dict[str, list[str]] | None = None
    instances: CocoInstances | None = None
    kept: str | None = Field(default=None, max_length=64, pattern=LABELS_NAME)
    label_map: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def one_source(self) -> EvaluationCreate:
        """Exactly one source of labels is given."""
        if sum(source is not None for source in (self.labels, self.instances, self.kept)) != 1:
            raise ValueError(
                "give exactly one of labels (a table key → labels), instances (a COCO file) and kept (a name)"
            )
        return self


class Measurement(ResponseModel):
    """The metrics of one source of concepts (captions or archives): means over images, null if none counts.

    Names: `recall` (all ranks), `recall@k`, `precision@k`, `ap` (its mean is the mAP), `ndcg@k`, `size`. The
    prefix `missing` restricts them to labels that the caption does not name; `added` does the same and ranks
    only the added concepts. With the suffix `judged`, concepts that are not labels are dropped first.
    """

    name: str
    metrics: dict[str, float | None]


class Evaluation(ResponseModel):
    """Archives compared with the captions alone; the rows are `caption` and `archive`.

    details: `labels` images had labels; `labels_without_sample` of them have no sample and `labels_ambiguous`
    match several samples, so they were left out; `without_sample` and `ambiguous` have the first such names.
    """

    id: str
    curation: str
    images: int
    images_missing: int
    label_map: str | None = None
    rows: list[Measurement]
    details: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime

    def row(self, name: str) -> Measurement:
        """The row with this name; raises KeyError if there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)
