"""Concepts of a curation: before and after, and what each occurs with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from cocu.api import caching
from cocu.api.dependencies import ArchivesOf, ConceptsOf, CurationId, Tenant
from cocu.api.pages import Cursor, Limit, page, position
from cocu.client import models

router = APIRouter(prefix="/v1/curations/{curation}/concepts", tags=["concepts"])


def _concept(concept: Annotated[str, Path(description="A concept, by its name or another form.")]) -> str:
    """The concept that a path names; segments of paths arrive with slashes and percent signs encoded."""
    return concept.replace("%2F", "/").replace("%25", "%")


@router.get("", response_model=models.Page[models.ConceptFrequency])
def list_curation_concepts(
    *,
    curation: CurationId,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    concepts: ConceptsOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    order: Annotated[
        models.ConceptOrder, Query(description="Most archives, captions or additions first, or by name.")
    ] = "archives",
) -> models.Page[models.ConceptFrequency] | Response:
    """List the concepts that captions (before) or archives (after) name, with how often each does."""
    record = archives.completed(tenant=tenant, curation=curation)
    listing = f"concepts {curation} {record.content_hash} {order}"
    after = position(listing, cursor)
    tag = caching.tag_of(listing, limit, cursor)
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    found = concepts.list_page(record, order=order, limit=limit, after=after)
    caching.mark_immutable(response, tag)
    return page(listing, found, lambda each: each, models.ConceptFrequency)


@router.get("/{concept:path}", response_model=models.ConceptDetail)
def get_curation_concept(
    *,
    curation: CurationId,
    concept: Annotated[str, Depends(_concept)],
    request: Request,
    response: Response,
    archives: ArchivesOf,
    concepts: ConceptsOf,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=100, description="The most concepts, and the most samples.")] = 20,
) -> models.ConceptDetail | Response:
    """Look at one concept: what it occurs with most, and the samples in whose archives it scores best."""
    record = archives.completed(tenant=tenant, curation=curation)
    found = concepts.get(record, concept, limit=limit)
    tag = caching.tag_of("concept", record.content_hash, found.concept, limit)
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    caching.mark_immutable(response, tag)
    return found
