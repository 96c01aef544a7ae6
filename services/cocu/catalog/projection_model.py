"""The table of projections; `models` has the others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cocu.catalog.base import Base, Id, Name, State, created


class Projection(Base):
    """A map of a dataset's images. Everything that its points depend on is fixed when it is created.

    Its state is that of its task, whose target it is.
    """

    __tablename__ = "projections"
    __table_args__ = (Index(None, "dataset_id", "created_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"))
    encoder: Mapped[str] = mapped_column(Name)
    encoder_hash: Mapped[str] = mapped_column(Id)
    method: Mapped[str] = mapped_column(State)
    seed: Mapped[int]
    samples: Mapped[int]
    left_out: Mapped[int]
    """Samples of the dataset that had no embedding when it was created."""
    snapshot: Mapped[dict[str, Any]]
    """Under `shards`: for each shard its id, first global row, number of samples, and revision."""
    regions: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """Under `regions`, once it is made: for each its number of images and its place, x and y."""
    points: Mapped[int | None]
    created_at: Mapped[datetime] = created()
