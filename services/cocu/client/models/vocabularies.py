"""Vocabularies and encoders: what a curation looks with and for."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, model_validator

from cocu.client.models.base import Answer, Request


class VocabularyMined(Request):
    """Make the vocabulary from frequent noun phrases of a dataset's captions."""

    dataset: str
    minimum_count: int = Field(default=5, ge=1)
    maximum_concepts: int = Field(default=5000, ge=1, le=50_000)


class VocabularyCreate(Request):
    """A vocabulary from exactly one source: shipped, text, document or mined.

    text: one concept a line. document: the JSON text of our own vocabulary format. without: names of
    benchmarks (see the overlap report) and `phrases` concepts to leave out of the result.
    """

    name: str | None = Field(default=None, min_length=1, max_length=200)
    shipped: bool = False
    text: str | None = None
    document: str | None = None
    mined: VocabularyMined | None = None
    without: list[str] = Field(default_factory=list, max_length=100)
    without_phrases: list[str] = Field(default_factory=list, max_length=10_000)

    @model_validator(mode="after")
    def one_source(self) -> VocabularyCreate:
        """Exactly one source is given."""
        given = [self.shipped, self.text is not None, self.document is not None, self.mined is not None]
        if sum(given) != 1:
            raise ValueError(
                f"give exactly one of shipped, text, document and mined; {sum(given)} of them were given"
            )
        return self


class Phrase(Answer):
    """A noun phrase, and how many captions name it."""

    phrase: str
    count: int


class Vocabulary(Answer):
    """A versioned list of concepts; `hash` is over its content, `id` follows from it.

    `phrases` is filled in the answer to mining alone: the most frequent ones, with counts.
    """

    id: str
    name: str
    version: str
    hash: str
    source: str
    concepts: int
    created_at: datetime
    phrases: list[Phrase] = Field(default_factory=list)


class Concept(Answer):
    """One concept of a vocabulary with the surface forms that name it."""

    name: str
    forms: list[str] = Field(default_factory=list)


class Overlap(Answer):
    """How much of a benchmark's class names a vocabulary names."""

    benchmark: str
    classes: int
    named: int
    missing: list[str]


class Encoder(Answer):
    """An encoder that this server can use; `hash` is over the files of its bundle."""

    name: str
    hash: str
    dim: int
    licence: str
    source: str
    default: bool = False
