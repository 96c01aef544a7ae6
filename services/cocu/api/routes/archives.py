"""Archives: the ranked concepts of every image, and where each came from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cocu.api import caching
from cocu.api.dependencies import ArchivesOf, CurationId, Tenant
from cocu.api.pages import Cursor, page, position
from cocu.api.paths import SampleKey
from cocu.api.reading import ArchiveFilter
from cocu.client import models

router = APIRouter(prefix="/v1/curations/{curation}/archives", tags=["archives"])

PageLimit = Annotated[int, Query(ge=1, le=200, description="The most archives of one page.")]


@router.get("", response_model=models.Page[models.Archive])
def list_archives(
    *,
    curation: CurationId,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    tenant: Tenant,
    limit: PageLimit = 20,
    cursor: Cursor = None,
    concept: Annotated[
        str | None,
        Query(max_length=400, description="Only archives with this concept, by its name or another form."),
    ] = None,
    added: Annotated[
        bool | None,
        Query(description="Only archives with a concept that the own caption does not (true) or does name."),
    ] = None,
    min_score: Annotated[
        float | None,
        Query(allow_inf_nan=False, description="Only archives with a concept that scores at least this."),
    ] = None,
    changed: Annotated[
        bool | None,
        Query(
            description="Only archives whose neighbours are (true) or are not (false) others than in the "
            "curation before the dataset grew; of new samples, and where there was none, they are."
        ),
    ] = None,
) -> models.Page[models.Archive] | Response:
    """List archives in sample order; several filters ask for one concept that satisfies all of them.

    A page may end early, and even be empty, while there is a `next`.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    wanted = ArchiveFilter(concept=concept, added=added, min_score=min_score, changed=changed)
    listing = f"archives {curation} {concept!r} {added} {min_score} {changed}"
    after = position(listing, cursor)
    tag = caching.tag_of(record.content_hash, listing, limit, cursor)
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    found = archives.list_page(record, wanted=wanted, limit=limit, after=after)
    caching.mark_immutable(response, tag)
    return page(listing, found, lambda archive: archive, models.Archive)


@router.get("/{key:path}", response_model=models.Archive)
def get_archive(
    *,
    curation: CurationId,
    key: SampleKey,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    tenant: Tenant,
) -> models.Archive | Response:
    """The archive of one sample: each concept with its score, its cluster, and the captions naming it."""
    record = archives.completed(tenant=tenant, curation=curation)
    tag = caching.tag_of(record.content_hash, key)
    found = archives.get(record, key)
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    caching.mark_immutable(response, tag)
    return found
