"""Vocabularies and encoders."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, model_validator

from cocu.schemas.base import Name, Request, ResponseModel, Word


class VocabularyMined(Request):
    """A vocabulary from the frequent noun phrases in a dataset's captions."""

    dataset: str
    minimum_count: int = Field(default=5, ge=1)
    maximum_concepts: int = Field(default=5000, ge=1, le=50_000)


class VocabularyCreate(Request):
    """A vocabulary from exactly one source: shipped, text, document, mined or from.

    text: one concept per line. document: a vocabulary in our JSON format, as text. from: another vocabulary,
    by id or name; with feedback, its next version: without the concepts that are blocked, and with the forms
    of merged ones given to others. without: names of benchmarks (see the overlap report) whose class names to
    leave out. without_phrases: concepts to leave out.
    """

    name: Name | None = None
    shipped: bool = False
    text: str | None = None
    document: str | None = None
    mined: VocabularyMined | None = None
    from_: Word | None = Field(default=None, alias="from")
    feedback: bool = False
    without: list[str] = Field(default_factory=list, max_length=100)
    without_phrases: list[str] = Field(default_factory=list, max_length=10_000)

    @model_validator(mode="after")
    def one_source(self) -> VocabularyCreate:
        """Require exactly one source."""
        others = (self.text, self.document, self.mined, self.from_)
        sources = self.shipped + sum(source is not None for source in others)
        if sources != 1:
            raise ValueError(
                f"give exactly one of shipped, text, document, mined and from; {sources} of them were given"
            )
        if self.feedback and self.from_ is None:
            raise ValueError("feedback is about a vocabulary: name it in `from`")
        return self


class Phrase(ResponseModel):
    """A noun phrase, and the number of captions with it."""

    phrase: str
    count: int


class Vocabulary(ResponseModel):
    """A versioned list of concepts; `hash` is the hash of its content, `id` is derived from it.

    `phrases` is set only in the answer to mining: the most frequent phrases, with counts.
    """

    id: str
    name: str
    version: str
    hash: str
    source: str
    concepts: int
    created_at: datetime
    phrases: list[Phrase] = Field(default_factory=list)


class Concept(ResponseModel):
    """One concept of a vocabulary with the surface forms that name it."""

    name: str
    forms: list[str] = Field(default_factory=list)


class CountedConcept(Concept):
    """A concept with how often a curation's captions (before) and archives (after) name it.

    added: archives that hold it though the image's own caption does not name it. None without a curation.
    """

    captions: int | None = None
    archives: int | None = None
    added: int | None = None


class NearConcept(CountedConcept):
    """A concept, and the cosine of its embedding with that of what was asked for."""

    similarity: float


class MergeCandidate(ResponseModel):
    """Two concepts that are near in meaning: the cosine of their embeddings."""

    first: CountedConcept
    second: CountedConcept
    similarity: float


class Gap(ResponseModel):
    """A phrase of captions that names no concept.

    captions: how many name it. nearest: the concept most similar to it, with the cosine of the two.
    """

    phrase: str
    captions: int
    nearest: str
    similarity: float


class Overlap(ResponseModel):
    """How many class names of a benchmark a vocabulary has."""

    benchmark: str
    classes: int
    named: int
    missing: list[str]


class Encoder(ResponseModel):
    """An encoder that this server can use; `hash` is the hash of the files of its bundle."""

    name: str
    hash: str
    dim: int
    licence: str
    source: str
    default: bool = False
