"""Vocabularies: the shipped one, own ones, mined ones."""

from __future__ import annotations

from fastapi import APIRouter, Response

from cocu.api import views, vocabularies
from cocu.api.dependencies import PlatformOf, SamplesOf, Tenant, VocabularyId
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, page, position
from cocu.client import models
from cocu.curation import class_names
from cocu.curation.vocabulary import overlap
from cocu.storage.catalog.records import Page

router = APIRouter(prefix="/v1/vocabularies", tags=["vocabularies"], route_class=IdempotentRoute)

MOST_PHRASES = 1000


@router.post("", status_code=201)
def create_vocabulary(
    *,
    body: models.VocabularyCreate,
    platform: PlatformOf,
    samples: SamplesOf,
    tenant: Tenant,
    response: Response,
) -> models.Vocabulary:
    """Make a vocabulary: shipped, from text, from a document, or mined from the captions of a dataset.

    200 where the very same vocabulary exists already.
    """
    built = vocabularies.build(platform, samples, tenant=tenant, request=body)
    record, new = platform.vocabularies.add(tenant=tenant, vocabulary=built.vocabulary, source=built.source)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/vocabularies/{record.id}"
    return views.vocabulary(record, built.phrases[:MOST_PHRASES])


@router.get("")
def list_vocabularies(
    *, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.Vocabulary]:
    """List vocabularies, the shipped one among them."""
    found = platform.vocabularies.list_page(
        tenant=tenant, limit=limit, after=position("vocabularies", cursor)
    )
    return page("vocabularies", found, views.vocabulary, models.Vocabulary)


@router.get("/{vocabulary}")
def get_vocabulary(vocabulary: VocabularyId, platform: PlatformOf, tenant: Tenant) -> models.Vocabulary:
    """Look at one vocabulary, by id or name."""
    record, _ = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    return views.vocabulary(record)


@router.get("/{vocabulary}/concepts")
def list_concepts(
    *,
    vocabulary: VocabularyId,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.Concept]:
    """List the concepts of a vocabulary by name, with the forms in which captions may write them."""
    record, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    listing = f"concepts {record.id}"
    after = position(listing, cursor)
    begin = 0 if after is None else int(after)
    end = begin + limit
    found = Page(items=loaded.concepts[begin:end], next=str(end) if end < len(loaded.concepts) else None)
    return page(
        listing, found, lambda each: models.Concept(name=each.name, forms=list(each.forms)), models.Concept
    )


@router.get("/{vocabulary}/overlap")
def get_overlap(
    *, vocabulary: VocabularyId, platform: PlatformOf, tenant: Tenant
) -> models.Page[models.Overlap]:
    """Say how many class names of each known benchmark the vocabulary has."""
    _, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    found = [overlap(loaded, benchmark) for benchmark in class_names.benchmarks()]
    items = [
        models.Overlap(
            benchmark=each.benchmark, classes=each.total, named=each.covered, missing=list(each.missing)
        )
        for each in found
    ]
    return models.Page[models.Overlap](items=items)
