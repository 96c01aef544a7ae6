"""The tables of what people know of samples: labels of a dataset, and judgements of a curation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cocu.catalog.base import Base, Id, Key, Name, created


class LabelSet(Base):
    """Labels of samples, kept under a name."""

    __tablename__ = "label_sets"

    dataset_id: Mapped[str] = mapped_column(Id, ForeignKey("datasets.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Key, primary_key=True)
    tenant: Mapped[str] = mapped_column(Name)
    hash: Mapped[str] = mapped_column(Id)
    """Over the labels and the map that they are read with."""
    document: Mapped[str]
    """The path of the object with the labels."""
    sha256: Mapped[str] = mapped_column(Id)
    """Of the document."""
    label_map: Mapped[str | None]
    images: Mapped[int]
    classes: Mapped[int]
    counts: Mapped[dict[str, Any]]
    """How many of the labelled images are samples of the dataset, and which are not."""
    created_at: Mapped[datetime] = created()


class Judgement(Base):
    """Whether a concept is right for an image of a curation; `replaced` is what was said before."""

    __tablename__ = "judgements"
    __table_args__ = (Index(None, "curation_id", "dealt"),)

    curation_id: Mapped[str] = mapped_column(Id, ForeignKey("curations.id"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True)
    """Of the sample, in the snapshot: with `concept_id` it is short where key and concept may be long."""
    concept_id: Mapped[int] = mapped_column(primary_key=True)
    """In the vocabulary of the curation."""
    tenant: Mapped[str] = mapped_column(Name)
    key: Mapped[str]
    concept: Mapped[str]
    score: Mapped[float] = mapped_column(Double)
    added: Mapped[bool]
    dealt: Mapped[int | None]
    """The place of the pair in the order in which the audit deals; None for one that it never deals."""
    right: Mapped[bool | None]
    """None: somebody looked and was not sure."""
    author: Mapped[str | None]
    replaced: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = created()
