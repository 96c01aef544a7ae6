"""Search: samples by text, by image or by sample."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from cocu.client.models.base import Answer, Page, Request

ConceptName = Annotated[str, StringConstraints(min_length=1, max_length=400)]


class SearchFilters(Request):
    """Which samples may be found; all of what is given must hold. Concepts go by name or another form.

    caption: the caption names every one of these. archive: the archive holds every one of these. added: each
    of the archive's concepts asked for (or at least one, where none is) is one that the caption does not name
    (true) or does (false). min_score: it scores at least this.
    """

    caption: list[ConceptName] = Field(default_factory=list, max_length=20)
    archive: list[ConceptName] = Field(default_factory=list, max_length=20)
    added: bool | None = None
    min_score: float | None = Field(default=None, allow_inf_nan=False)

    @property
    def empty(self) -> bool:
        """Whether every sample may be found."""
        return not (self.caption or self.archive) and self.added is None and self.min_score is None


class SearchRequest(Request):
    """What is searched for in a dataset: exactly one of text, image and sample.

    image: a JPEG, PNG or WEBP, base64; the `data:` URL of one will do. sample: the key of a sample, which
    itself is not found. curation: search its samples, say what their archives hold, and filter by it.
    encoder: by name or hash, where the dataset is searched without a curation; its default is the server's
    default encoder, or else one that the dataset was curated with. facets: how many of the most frequent
    concepts to count, over the archives of the nearest hits. cursor: `next` of the page before, with the rest
    of the request unchanged.
    """

    dataset: str = Field(max_length=64)
    text: str | None = Field(default=None, min_length=1, max_length=2000)
    image: str | None = Field(default=None, min_length=1)
    sample: str | None = Field(default=None, min_length=1, max_length=4096)
    curation: str | None = Field(default=None, max_length=64)
    encoder: str | None = Field(default=None, max_length=200)
    filters: SearchFilters = Field(default_factory=SearchFilters)
    facets: int = Field(default=0, ge=0, le=100)
    limit: int = Field(default=20, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=8192)

    @model_validator(mode="after")
    def one_query(self) -> SearchRequest:
        """Exactly one query is given, and a curation for what needs one."""
        given = sum(each is not None for each in (self.text, self.image, self.sample))
        if given != 1:
            raise ValueError(f"give exactly one of text, image and sample; {given} of them were given")
        if self.curation is None and not self.filters.empty:
            raise ValueError("filters ask about archives and concepts: give the curation they are of")
        if self.curation is None and self.facets:
            raise ValueError("facets count concepts of archives: give the curation they are of")
        if self.curation is not None and self.encoder is not None:
            raise ValueError("a curation has its own encoder: give one of the two")
        return self


class HitConcept(Answer):
    """A concept of a hit's archive."""

    concept: str
    score: float
    added: bool


class SearchHit(Answer):
    """A found sample: the cosine of its image and the query; with a curation, the best of its archive."""

    key: str
    similarity: float
    caption: str
    image: str | None
    thumbnail: str | None
    concepts: list[HitConcept] = Field(default_factory=list)


class Facet(Answer):
    """A concept, and how many of the hits' archives hold it."""

    concept: str
    hits: int


class SearchPage(Page[SearchHit]):
    """Hits, nearest first. A page may end early, and even be empty, while there is a `next`.

    encoder: by which was searched. facets, on the first page alone: the most frequent concepts in the
    archives of the nearest `facet_hits` hits.
    """

    encoder: str
    facets: list[Facet] = Field(default_factory=list)
    facet_hits: int = 0
