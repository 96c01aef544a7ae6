"""Evaluations: archives measured against human labels."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, model_validator

from cocu.client.models.base import Answer, Request


class CocoImage(Answer):
    """An image of a COCO annotation file; its file name without ending is the key of the sample."""

    id: int
    file_name: str = Field(max_length=4096)


class CocoAnnotation(Answer):
    """An instance of a COCO annotation file; boxes and masks are not needed and ignored."""

    image_id: int
    category_id: int


class CocoCategory(Answer):
    """A class of a COCO annotation file."""

    id: int
    name: str = Field(max_length=400)


class CocoInstances(Answer):
    """The part of a COCO instances file that says what is in which picture."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class EvaluationCreate(Request):
    """Labels to measure against, from exactly one source.

    labels: a table of sample key → its labels. instances: a COCO instances file. label_map: which concepts
    count as a label, by the name of a shipped map; null finds concepts by name.
    """

    labels: dict[str, list[str]] | None = None
    instances: CocoInstances | None = None
    label_map: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def one_source(self) -> EvaluationCreate:
        """Exactly one source of labels is given."""
        if (self.labels is None) == (self.instances is None):
            raise ValueError("give exactly one of labels (a table key → labels) and instances (a COCO file)")
        return self


class Measurement(Answer):
    """The metrics of one way to name what is in the pictures: means over images, null where none counts.

    Names: `recall` (all ranks), `recall@k`, `precision@k`, `ap` (its mean is the mAP), `ndcg@k`, `size`. With
    the prefix `missing` they are over the labels that the caption does not name; with `added` the same,
    ranked among the added concepts alone. With the suffix `judged`, concepts that are none of the labels are
    dropped first.
    """

    name: str
    metrics: dict[str, float | None]


class Evaluation(Answer):
    """How archives compare with the captions alone; rows are `caption` and `archive`."""

    id: str
    curation: str
    images: int
    images_missing: int
    label_map: str | None = None
    rows: list[Measurement]
    details: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime

    def row(self, name: str) -> Measurement:
        """The row with this name; raises KeyError where there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)
