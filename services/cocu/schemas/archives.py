"""Archives: the ranked concepts of an image, with their origins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cocu.schemas.base import Link, ResponseModel, is_none
from cocu.schemas.labels import Verdict


class Origin(ResponseModel):
    """A caption that names a concept: the image's own, or that of a neighbour with this similarity."""

    kind: Literal["own_caption", "neighbour"]
    key: str
    similarity: float
    caption: str


class ArchiveConcept(ResponseModel):
    """A concept of an archive with the parts of its score.

    added: the image's own caption does not name it. cluster: None if the archive is too short to cluster.
    verdict: by the labels that were asked for; None, and not sent, without these or labels of the image.
    """

    concept: str
    score: float
    global_score: float = Field(alias="global")
    local_score: float = Field(alias="local")
    cluster: int | None = None
    added: bool
    verdict: Verdict | None = Field(default=None, exclude_if=is_none)
    origins: Sequence[Origin]


class Neighbour(ResponseModel):
    """A similar image and its similarity."""

    key: str
    similarity: float


class Archive(ResponseModel):
    """The concepts of one image by descending score, and the neighbours whose captions named them.

    Lists of archives have these; `ArchiveDetail` of a single one has more.
    changed: the image is new, or its neighbours differ from those in the curation before the dataset grew.
    missed: labels of the image that no concept here means; None, and not sent, without labels that were asked
    for, and where the image has none.
    """

    curation: str
    dataset: str
    key: str
    caption: str
    concepts: Sequence[ArchiveConcept]
    neighbours: Sequence[Neighbour]
    changed: bool = True
    missed: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    image: Link | None
    thumbnail: Link | None

    @property
    def added(self) -> list[ArchiveConcept]:
        """The concepts that the image's own caption does not name, best first."""
        return [concept for concept in self.concepts if concept.added]


class Mention(ResponseModel):
    """Where a caption names a concept: its characters from `start` up to `end`, in code points from 0.

    Programs whose strings count otherwise (UTF-16 in JavaScript) convert: `Array.from(caption)`.
    """

    concept: str
    start: int
    end: int


class WeighedOrigin(Origin):
    """An origin with its part in the support of the concept.

    weight: the share of this caption in the weights of all neighbours whose captions name the concept; these
    add up to 1. None for the own caption, which speaks through the prior, where no neighbour looks more like
    the image than chance, and for scorings without support.
    """

    weight: float | None


class WeighedConcept(ArchiveConcept):
    """A concept of an archive with all parts of its score: prior + support + global.

    prior: what is known without the neighbours, from all captions and the own one; support: what the
    neighbours' captions add; both in log-odds, together they are `local`. None for scorings without them.
    """

    prior: float | None
    support: float | None
    origins: Sequence[WeighedOrigin]


class NeighbourDetail(Neighbour):
    """A similar image with its caption, the concepts of the vocabulary that it names, and where."""

    caption: str
    concepts: list[str]
    mentions: list[Mention]
    image: Link | None
    thumbnail: Link | None


class ArchiveDetail(Archive):
    """One archive with what explains it: the parts of scores, the neighbours, the words of captions.

    mentions: where the image's own caption names concepts, in order of appearance.
    """

    mentions: list[Mention]
    concepts: Sequence[WeighedConcept]
    neighbours: Sequence[NeighbourDetail]


class ConceptChance(ResponseModel):
    """How likely a trainer sees a concept of an archive in one epoch.

    first_draw: the probability that it is the first concept drawn. inclusion: that it is among the concepts
    drawn. Both are exact.
    """

    concept: str
    score: float
    cluster: int | None
    added: bool
    first_draw: float
    inclusion: float


class EpochDraw(ResponseModel):
    """What a trainer sees of a sample in one epoch: the concepts drawn, and the texts in their order.

    The texts are as many as were asked for: where the archive has fewer concepts, the caption follows.
    """

    epoch: int
    concepts: list[str]
    texts: list[str]


class ArchiveDraws(ResponseModel):
    """The draws from one archive: probabilities, and what the batch stream sends in some epochs.

    count: the number of texts of a sample in an epoch.
    """

    curation: str
    dataset: str
    key: str
    seed: int
    count: int
    sampler: str
    temperature: float
    concepts: list[ConceptChance]
    epochs: list[EpochDraw]
