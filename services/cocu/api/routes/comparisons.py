"""Comparisons of two curations of one dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from cocu.api import caching
from cocu.api.dependencies import ArchivesOf, ComparisonsOf, CurationId, Tenant
from cocu.api.pages import Cursor, Limit, page, position
from cocu.api.reading.comparisons import Pair
from cocu.client import models

router = APIRouter(prefix="/v1/curations/{curation}/comparisons/{other}", tags=["comparisons"])


def _pair(
    curation: CurationId,
    other: CurationId,
    archives: ArchivesOf,
    comparisons: ComparisonsOf,
    tenant: Tenant,
) -> Pair:
    """The two curations that a path names, both completed."""
    first = archives.completed(tenant=tenant, curation=curation)
    return comparisons.pair(first, archives.completed(tenant=tenant, curation=other))


PairOf = Annotated[Pair, Depends(_pair)]


@router.get("", response_model=models.Comparison)
def compare_curations(
    *, pair: PairOf, request: Request, response: Response, comparisons: ComparisonsOf
) -> models.Comparison | Response:
    """Compare a curation (first) with another of the same dataset (second): what archives gained and lost.

    Computed when first asked for, then kept.
    """
    tag = caching.tag_of("comparison", pair.contents_hash)
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    found = comparisons.get(pair)
    caching.mark_immutable(response, tag)
    return found


@router.get("/concepts")
def list_changed_concepts(
    *, pair: PairOf, comparisons: ComparisonsOf, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.ConceptChange]:
    """List the concepts that archives gained or lost, those with the most changes first."""
    listing = f"changed concepts {pair.first.id} {pair.second.id} {pair.contents_hash}"
    found = comparisons.concepts(pair, limit=limit, after=position(listing, cursor))
    return page(listing, found, lambda each: each, models.ConceptChange)


@router.get("/samples")
def list_changed_samples(
    *, pair: PairOf, comparisons: ComparisonsOf, limit: Limit = 20, cursor: Cursor = None
) -> models.Page[models.SampleChange]:
    """List the samples whose archives changed, those that changed most first."""
    listing = f"changed samples {pair.first.id} {pair.second.id} {pair.contents_hash}"
    found = comparisons.samples(pair, limit=limit, after=position(listing, cursor))
    return page(listing, found, lambda each: each, models.SampleChange)
