"""Vocabularies: the shipped one, and those that tenants upload or mine."""

from __future__ import annotations

from bisect import bisect_left
from typing import Annotated

from fastapi import APIRouter, Query, Response

from cocu import schemas
from cocu.api import serializers, vocabularies
from cocu.api.dependencies import PlatformOf, SamplesOf, Tenant, VocabularyId
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.catalog.records import Page
from cocu.curation import class_names
from cocu.curation.vocabulary import overlap

router = APIRouter(prefix="/v1/vocabularies", tags=["vocabularies"], route_class=IdempotentRoute)

MAX_PHRASES = 1000


@router.post("", status_code=201)
def create_vocabulary(
    *,
    body: schemas.VocabularyCreate,
    platform: PlatformOf,
    samples: SamplesOf,
    tenant: Tenant,
    response: Response,
) -> schemas.Vocabulary:
    """Create a vocabulary: shipped, from text or a document, mined from captions, or from another one.

    200 if the same vocabulary exists already.
    """
    built = vocabularies.build(platform, samples, tenant=tenant, request=body)
    record, new = platform.vocabularies.add(tenant=tenant, vocabulary=built.vocabulary, source=built.source)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/vocabularies/{record.id}"
    return serializers.vocabulary(record, built.phrases[:MAX_PHRASES])


@router.get("")
def list_vocabularies(
    *, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Page[schemas.Vocabulary]:
    """List vocabularies, including the shipped one."""
    records = platform.vocabularies.list_page(
        tenant=tenant, limit=limit, after=read_cursor("vocabularies", cursor)
    )
    return make_page("vocabularies", records, serializers.vocabulary, schemas.Vocabulary)


@router.get("/{vocabulary}")
def get_vocabulary(vocabulary: VocabularyId, platform: PlatformOf, tenant: Tenant) -> schemas.Vocabulary:
    """Return one vocabulary, by id or name."""
    record, _ = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    return serializers.vocabulary(record)


@router.get("/{vocabulary}/concepts")
def list_concepts(
    *,
    vocabulary: VocabularyId,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    prefix: Annotated[
        str, Query(max_length=400, description="Only concepts whose names begin with this.")
    ] = "",
) -> schemas.Page[schemas.Concept]:
    """List the concepts of a vocabulary by name, with the forms in which captions may write them."""
    record, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    listing = f"concepts {record.id} {prefix}"
    after = read_cursor(listing, cursor)
    first, last = _with_prefix(loaded.names, prefix)
    begin = first if after is None else int(after)
    end = min(begin + limit, last)
    concept_page = Page(items=loaded.concepts[begin:end], next=str(end) if end < last else None)
    return make_page(
        listing,
        concept_page,
        lambda concept: schemas.Concept(name=concept.name, forms=list(concept.forms)),
        schemas.Concept,
    )


def _with_prefix(names: tuple[str, ...], prefix: str) -> tuple[int, int]:
    """The part of sorted names that begin with a prefix."""
    begin = bisect_left(names, prefix)
    # Among the names from there on, those with the prefix come first.
    return begin, bisect_left(names, True, begin, key=lambda name: not name.startswith(prefix))


@router.get("/{vocabulary}/overlap")
def get_overlap(
    *, vocabulary: VocabularyId, platform: PlatformOf, tenant: Tenant
) -> schemas.Page[schemas.Overlap]:
    """Return how many class names of each known benchmark the vocabulary has."""
    _, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    overlaps = [overlap(loaded, benchmark) for benchmark in class_names.benchmarks()]
    items = [
        schemas.Overlap(
            benchmark=result.benchmark,
            classes=result.total,
            named=result.covered,
            missing=list(result.missing),
        )
        for result in overlaps
    ]
    return schemas.Page[schemas.Overlap](items=items)
