"""Feedback about concepts of a vocabulary, and what it would change."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cocu.schemas.base import Name, Request, ResponseModel
from cocu.text.names import check_text

FeedbackAction = Literal["block", "allow", "merge"]
"""What to do with a concept in the next version of its vocabulary. `block`: leave it out. `merge`: give its
forms to another concept. `allow`: keep it; says that somebody looked."""

ConceptName = Annotated[str, Field(min_length=1, max_length=400)]

DrawSampler = Literal["cluster", "topk", "uniform"]


class FeedbackCreate(Request):
    """What somebody says about a concept.

    concept, into: by name or another form; into: what it is merged into, and only for `merge`. author: who
    says it, as they want to be called.
    """

    concept: ConceptName
    action: FeedbackAction
    into: ConceptName | None = None
    note: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(check_text)] | None = None
    author: Name | None = None

    @model_validator(mode="after")
    def target_of_a_merge(self) -> FeedbackCreate:
        """Require `into` exactly for a merge."""
        if (self.action == "merge") != (self.into is not None):
            raise ValueError(
                "a merge needs `into`, the concept that it becomes"
                if self.into is None
                else f"`into` goes with merge only; leave it out to {self.action} a concept"
            )
        return self


class EarlierFeedback(ResponseModel):
    """What was said about a concept before."""

    action: FeedbackAction
    into: str | None
    note: str | None
    author: str | None
    created_at: datetime


class Feedback(EarlierFeedback):
    """What was said last about a concept of a vocabulary, and what that replaced."""

    vocabulary: str
    concept: str
    replaced: EarlierFeedback | None


class DrawEffect(ResponseModel):
    """What of a trainer's draws names a concept: with the other parameters, exactly those change.

    Of an epoch with `concepts` draws per sample: expected is how many draws name the concept, draws how many
    there are, share the first by the second; None without a draw. Probabilities are exact for `measured`
    archives: all that hold the concept, or evenly many of these from all parts of the dataset; expected is
    then estimated from them.
    """

    sampler: DrawSampler
    temperature: float
    concepts: int
    measured: int
    expected: float
    draws: int
    share: float | None


class Effect(ResponseModel):
    """What feedback about a concept would change in the archives of a curation, as they are now.

    captions: captions that name it. archives: archives that change. added: those of them where curation added
    the concept. shrunk: those that have a concept less: all for `block`, those that hold both for `merge`.
    emptied: those without any concept then. Another curation may differ from this by what follows: clusters
    are formed again, and shorter concepts are found in words that are free.
    """

    curation: str
    action: FeedbackAction
    concept: str
    into: str | None
    captions: int
    archives: int
    added: int
    shrunk: int
    emptied: int
    draws: DrawEffect
