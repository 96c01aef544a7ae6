"""Projections: maps of the images of a dataset."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from cocu.schemas.base import Request, ResponseModel, Word

ProjectionMethod = Literal["umap", "pca"]
"""How images get their places. `umap` keeps neighbours together. `pca` shows the two directions in which the
embeddings vary most: it takes seconds, and separates less."""
ProjectionState = Literal["queued", "running", "completed", "failed"]


class ProjectionMethods(ResponseModel):
    """How this platform can make a projection. methods: the best first. default: where none is named."""

    methods: list[ProjectionMethod]
    default: ProjectionMethod


class ProjectionCreate(Request):
    """A request for a projection; the same request for the same samples gives the same projection.

    encoder: id or name of the encoder whose embeddings are shown; null for the server's default. method: null
    for the best that the platform has (see `getProjectionMethods`). seed: of what is random, the same seed
    gives the same map.
    """

    encoder: Word | None = None
    method: ProjectionMethod | None = None
    seed: int = Field(default=0, ge=0, le=2**32 - 1)


class Region(ResponseModel):
    """A part of the image space: a k-means cell of the embeddings.

    region: its number, from 0; region 0 has most pictures. x, y: the middle of its points, as these have
    them. label: up to three concepts that are more frequent in archives here than elsewhere, the most
    distinctive first; empty without a completed curation.
    """

    region: int
    pictures: int
    x: int
    y: int
    label: list[str]


class Projection(ResponseModel):
    """A map of the images of a dataset, as they were when it was asked for.

    samples: those of the dataset. left_out: how many of them stood in shards that the encoder had not
    embedded. points: how many have a place; those whose embedding failed have none either; null until it is
    completed. samples_done: how far it is, of `samples` less `left_out`. regions: the largest first; empty
    until it is completed, and in lists. labels_of: the curation whose concepts label the regions.
    same_samples: whether the samples are those of that curation; null without one. error: why it failed.
    """

    id: str
    dataset: str
    encoder: str
    encoder_hash: str
    method: ProjectionMethod
    seed: int
    state: ProjectionState
    created_at: datetime
    samples: int
    points: int | None = None
    samples_done: int
    left_out: int
    regions: list[Region] = Field(default_factory=list)
    labels_of: str | None = None
    same_samples: bool | None = None
    error: str | None = None

    @property
    def without_place(self) -> int:
        """How many samples have no place; 0 until it is completed."""
        return 0 if self.points is None else self.samples - self.points

    @property
    def completed(self) -> bool:
        """Whether its points can be read."""
        return self.state == "completed"

    @property
    def finished(self) -> bool:
        """Whether it is completed or failed."""
        return self.state in ("completed", "failed")
