"""Labels that a dataset keeps, and what they say of archives."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from cocu.schemas.base import Request, ResponseModel
from cocu.schemas.evaluations import CocoInstances

Verdict = Literal["hit", "false", "unknown"]
"""What labels say of a concept in the archive of a labelled image. `hit`: it means one of the labels.
`false`: it means a label that the image does not have. `unknown`: no label means it, so nobody looked for
it."""

VerdictChoice = Literal["hit", "false", "missed"]
"""Which archives a list has: those with a concept of this verdict, or those that lack a label."""


class LabelsKeep(Request):
    """Labels to keep, from exactly one source; see `EvaluationCreate`."""

    labels: dict[str, list[str]] | None = None
    instances: CocoInstances | None = None
    label_map: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def one_source(self) -> LabelsKeep:
        """Exactly one source of labels is given."""
        if (self.labels is None) == (self.instances is None):
            raise ValueError("give exactly one of labels (a table key → labels) and instances (a COCO file)")
        return self


class LabelSet(ResponseModel):
    """Labels that a dataset keeps under a name.

    hash: the same for the same labels read with the same map. label_map: which words mean a label; None for
    the names of the labels alone. images: how many have labels; classes: how many distinct labels there are.
    matched: images that were samples of the dataset when the labels were sent. The others are
    without_sample or ambiguous (they could be several samples), and `not_matched` has the first names of
    both. Verdicts match names again with the samples of their curation.
    """

    dataset: str
    name: str
    hash: str
    label_map: str | None
    images: int
    classes: int
    matched: int
    without_sample: int
    ambiguous: int
    not_matched: list[str]
    created_at: datetime
