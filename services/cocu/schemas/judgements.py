"""Judgements: right or wrong for one concept of one image, and what they say of a whole curation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from cocu.schemas.base import Link, Name, Request, ResponseModel

ConceptName = Annotated[str, Field(min_length=1, max_length=400)]


class JudgementCreate(Request):
    """Whether a concept of a sample's archive is right.

    concept: by name or another form. right: null for not sure. author: who says it, as they want to be
    called.
    """

    key: str = Field(min_length=1, max_length=4096)
    concept: ConceptName
    right: bool | None
    author: Name | None = None


class EarlierJudgement(ResponseModel):
    """What was said about a concept of an image before."""

    right: bool | None
    author: str | None
    created_at: datetime


class Judgement(EarlierJudgement):
    """What was said last about a concept of an image, and what that replaced.

    added: the image's own caption does not name it. dealt: the audit deals this pair, so that it counts in
    the summary when it is its turn.
    """

    curation: str
    key: str
    concept: str
    score: float
    added: bool
    dealt: bool
    replaced: EarlierJudgement | None


class AuditPair(ResponseModel):
    """An image and a concept that was added to it, to be judged. turn: its place in the order, from 1."""

    turn: int
    key: str
    caption: str
    image: Link | None
    thumbnail: Link | None
    concept: str
    score: float


class AuditPairs(ResponseModel):
    """The pairs to judge next. dealt: how many pairs the audit has; judged: how many of them were judged."""

    items: list[AuditPair]
    dealt: int
    judged: int


class ScoreBin(ResponseModel):
    """Added concepts with scores from `low` up to but not including `high`.

    added: how many there are. judged: how many of those that were dealt are right or wrong; right, unsure:
    how many are that. precision: right of judged, with its 95 % interval; None where nothing is judged.
    """

    low: float
    high: float
    added: int
    judged: int
    right: int
    unsure: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None


class PrecisionFrom(ResponseModel):
    """The precision of all added concepts that score at least this, estimated from those judged.

    added: how many concepts that are. judged: of how many the estimate is. The bins are weighted by their
    sizes; the interval is one of 95 %. All three are None until each of these bins has a judgement.
    """

    score: float
    added: int
    judged: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None


class JudgementSummary(ResponseModel):
    """What the judgements say of a curation.

    judgements: how many there are, whoever chose the pairs; right, wrong and unsure: what they say. Estimates
    are of those only that the audit has dealt, of each bin up to the first that is not judged, because what
    people choose themselves is no fair sample; counted: how many these are, without the unsure ones.
    overall: of all added concepts; None where nothing was added. by_threshold: for each score at which a bin
    begins, ascending. wished: the precision that was asked for. reached: the lowest of these scores from
    which the estimate is as high; None where none is, until every bin has a judgement, and where nothing was
    asked for.
    """

    curation: str
    judgements: int
    right: int
    wrong: int
    unsure: int
    counted: int
    bins: list[ScoreBin]
    overall: PrecisionFrom | None
    by_threshold: list[PrecisionFrom]
    wished: float | None
    reached: PrecisionFrom | None


class ThresholdSet(Request):
    """The score from which a concept counts as added; null for none."""

    score: float | None = Field(allow_inf_nan=False)
