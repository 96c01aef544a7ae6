"""Comparisons of two curations of one dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from cocu import schemas
from cocu.api import conditional
from cocu.api.dependencies import ArchivesOf, ComparisonsOf, CurationId, Tenant
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.queries.comparisons import Pair

router = APIRouter(prefix="/v1/curations/{curation}/comparisons/{other}", tags=["comparisons"])


def _pair(
    curation: CurationId,
    other: CurationId,
    archives: ArchivesOf,
    comparisons: ComparisonsOf,
    tenant: Tenant,
) -> Pair:
    """Return the two curations that the path names, both completed."""
    first = archives.completed(tenant=tenant, curation=curation)
    return comparisons.pair(first, archives.completed(tenant=tenant, curation=other))


PairOf = Annotated[Pair, Depends(_pair)]


@router.get("", response_model=schemas.Comparison)
def compare_curations(
    *, pair: PairOf, request: Request, response: Response, comparisons: ComparisonsOf
) -> schemas.Comparison | Response:
    """Compare a curation (first) with another of the same dataset (second): what archives gained and lost.

    It is computed at the first request and then stored.
    """
    tag = conditional.make_tag("comparison", pair.contents_hash)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    comparison = comparisons.get(pair)
    conditional.mark_immutable(response, tag)
    return comparison


@router.get("/concepts")
def list_changed_concepts(
    *, pair: PairOf, comparisons: ComparisonsOf, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Page[schemas.ConceptChange]:
    """List the concepts that archives gained or lost, those with the most changes first."""
    listing = f"changed concepts {pair.first.id} {pair.second.id} {pair.contents_hash}"
    concept_page = comparisons.concepts(pair, limit=limit, after=read_cursor(listing, cursor))
    return make_page(listing, concept_page, lambda change: change, schemas.ConceptChange)


@router.get("/samples")
def list_changed_samples(
    *, pair: PairOf, comparisons: ComparisonsOf, limit: Limit = 20, cursor: Cursor = None
) -> schemas.Page[schemas.SampleChange]:
    """List the samples whose archives changed, those that changed most first."""
    listing = f"changed samples {pair.first.id} {pair.second.id} {pair.contents_hash}"
    sample_page = comparisons.samples(pair, limit=limit, after=read_cursor(listing, cursor))
    return make_page(listing, sample_page, lambda change: change, schemas.SampleChange)
