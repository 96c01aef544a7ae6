"""Search: samples by text, by image or by sample."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from cocu.schemas.base import Link, Page, Request, ResponseModel

ConceptName = Annotated[str, StringConstraints(min_length=1, max_length=400)]


QueryVector = Annotated[
    str, Field(min_length=2, max_length=16_384, pattern=r"^[A-Za-z0-9_-]+={0,2}$", examples=["fwAB_4A"])
]
"""A vector in int8, base64url without padding: 683 characters for 512 numbers."""


class SearchFilters(Request):
    """Filters of samples; all of them must hold. Concepts are given by name or another form.

    caption: the caption names all of these concepts. archive: the archive contains all of these concepts.
    added: the caption does not name (true) or names (false) each of the concepts in `archive`, or at least
    one concept of the archive if `archive` is empty. min_score: these concepts score at least this.
    """

    caption: list[ConceptName] = Field(default_factory=list, max_length=20)
    archive: list[ConceptName] = Field(default_factory=list, max_length=20)
    added: bool | None = None
    min_score: float | None = Field(default=None, allow_inf_nan=False)

    @property
    def empty(self) -> bool:
        """Whether there are no filters."""
        return not (self.caption or self.archive) and self.added is None and self.min_score is None


class SearchRequest(Request):
    """A search in a dataset by exactly one of text, image, sample and vector.

    image: a JPEG, PNG or WEBP in base64, or its `data:` URL. sample: the key of a sample, which is not among
    the hits. vector: that of an earlier answer, which makes the search of an image a link. curation: search
    its samples, show the concepts of their archives, and filter by them. encoder: name or hash, for a search
    without a curation; by default the server's default encoder, or else one that the dataset was curated
    with. facets: how many of the most frequent concepts to count in the archives of the nearest hits. cursor:
    `next` of the previous page; the rest of the request must be unchanged.
    """

    dataset: str = Field(max_length=64)
    text: str | None = Field(default=None, min_length=1, max_length=2000)
    image: str | None = Field(default=None, min_length=1)
    sample: str | None = Field(default=None, min_length=1, max_length=4096)
    vector: QueryVector | None = None
    curation: str | None = Field(default=None, max_length=64)
    encoder: str | None = Field(default=None, max_length=200)
    filters: SearchFilters = Field(default_factory=SearchFilters)
    facets: int = Field(default=0, ge=0, le=100)
    limit: int = Field(default=20, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=8192)

    @model_validator(mode="after")
    def one_query(self) -> SearchRequest:
        """Require exactly one query, and a curation for filters and facets."""
        queries = sum(query is not None for query in (self.text, self.image, self.sample, self.vector))
        if queries != 1:
            raise ValueError(
                f"give exactly one of text, image, sample and vector; {queries} of them were given"
            )
        if self.curation is None and not self.filters.empty:
            raise ValueError("filters ask about archives and concepts: give the curation they are of")
        if self.curation is None and self.facets:
            raise ValueError("facets count concepts of archives: give the curation they are of")
        if self.curation is not None and self.encoder is not None:
            raise ValueError("a curation has its own encoder: give one of the two")
        return self


class SearchQuery(Request):
    """A `SearchRequest` as query parameters, without an image: a search that is a link.

    caption, archive, added and min_score are its filters.
    """

    # Not strict: in a URL every value is text.
    model_config = ConfigDict(strict=False)

    dataset: str = Field(max_length=64)
    text: str | None = Field(default=None, min_length=1, max_length=2000)
    sample: str | None = Field(default=None, min_length=1, max_length=4096)
    vector: QueryVector | None = None
    curation: str | None = Field(default=None, max_length=64)
    encoder: str | None = Field(default=None, max_length=200)
    caption: list[ConceptName] = Field(default_factory=list, max_length=20)
    archive: list[ConceptName] = Field(default_factory=list, max_length=20)
    added: bool | None = None
    min_score: float | None = Field(default=None, allow_inf_nan=False)
    facets: int = Field(default=0, ge=0, le=100)
    limit: int = Field(default=20, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=8192)

    def to_request(self) -> SearchRequest:
        """Return the same search as a request. Raises ValidationError like `SearchRequest`."""
        names = SearchFilters.model_fields.keys()
        filters = SearchFilters(**self.model_dump(include=set(names)))
        return SearchRequest(filters=filters, **self.model_dump(exclude=set(names)))


class HitConcept(ResponseModel):
    """A concept of a hit's archive."""

    concept: str
    score: float
    added: bool


class SearchHit(ResponseModel):
    """A sample and the cosine of its image and the query; with a curation, its archive's best concepts."""

    key: str
    similarity: float
    caption: str
    image: Link | None
    thumbnail: Link | None
    concepts: list[HitConcept] = Field(default_factory=list)


class Facet(ResponseModel):
    """A concept, and the number of hits whose archives contain it."""

    concept: str
    hits: int


class SearchPage(Page[SearchHit]):
    """Hits, nearest first. A page with a `next` can be short or even empty.

    encoder: the encoder used. facets, only on the first page: the most frequent concepts in the archives of
    the nearest `facet_hits` hits. vector: that of the query in int8, its largest number as 127; a
    search by it has the same hits up to this rounding.
    """

    encoder: str
    vector: str | None = None
    facets: list[Facet] = Field(default_factory=list)
    facet_hits: int = 0
