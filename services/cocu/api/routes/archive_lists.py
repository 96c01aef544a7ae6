"""Lists of archives: pages, counts over what filters select, and what is adjacent to an archive."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from cocu import schemas
from cocu.api import conditional
from cocu.api.dependencies import ArchiveListsOf, ArchivesOf, CurationId, FacetsOf, Tenant
from cocu.api.judged import JudgedBy, mark, not_modified
from cocu.api.lasso_parameters import LassoOf
from cocu.api.pages import Cursor, make_page, read_cursor
from cocu.api.paths import SampleKey
from cocu.api.queries import ArchiveFilter
from cocu.errors import InvalidInputError

router = APIRouter(prefix="/v1/curations/{curation}", tags=["archives"])

PageLimit = Annotated[int, Query(ge=1, le=200, description="The most archives of one page.")]
Order = Annotated[
    schemas.ArchiveOrder,
    Query(
        description="In the order of samples; by the number of concepts added, most first; by the best score "
        "among these, best first; or by the score of the first `concept`, lowest (`score`) or highest "
        "(`-score`) first. Ties are in the order of samples."
    ),
]


def _read_filter(
    *,
    lasso: LassoOf,
    concept: Annotated[
        list[Annotated[str, Query(max_length=400)]] | None,
        Query(
            max_length=20,
            description="Only archives with this concept, by its name or another form; with all of them, if "
            "given several times.",
        ),
    ] = None,
    added: Annotated[
        bool | None,
        Query(
            description="Only archives with a concept that the caption does not (true) or does (false) name; "
            "with `concept`, those where this holds for each of these."
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        Query(
            allow_inf_nan=False,
            description="Only archives with a concept that scores at least this; with `concept`, those where "
            "each of these does.",
        ),
    ] = None,
    changed: Annotated[
        bool | None,
        Query(
            description="Only archives whose neighbours differ (true) or do not differ (false) from those "
            "in the curation before the dataset grew. Those of new samples differ, and without an earlier "
            "curation all do."
        ),
    ] = None,
    verdict: Annotated[
        schemas.VerdictChoice | None,
        Query(
            description="Only archives with a concept that is right (`hit`) or wrong (`false`) by `labels`, "
            "with `concept` those where each of these is; or (`missed`) those that lack one of their labels."
        ),
    ] = None,
    judged: JudgedBy,
) -> ArchiveFilter:
    """Return the filter that the query describes; lists, facets and adjacent archives have the same."""
    if verdict is not None and judged is None:
        raise InvalidInputError(
            "A verdict needs the labels that it is by.",
            {"query.labels": "name labels that the dataset keeps: GET /v1/datasets/{id}/labels lists them"},
        )
    return ArchiveFilter(
        concepts=tuple(dict.fromkeys(concept or ())),
        added=added,
        min_score=min_score,
        changed=changed,
        lasso=lasso,
        judged=judged,
        verdict=verdict,
    )


Filter = Annotated[ArchiveFilter, Depends(_read_filter)]


@router.get("/archives", response_model=schemas.Page[schemas.Archive] | schemas.Page[schemas.ArchiveCard])
def list_archives(
    *,
    curation: CurationId,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    lists: ArchiveListsOf,
    tenant: Tenant,
    archive_filter: Filter,
    view: Annotated[
        schemas.ArchiveView, Query(description="Whole archives, or cards with what a grid shows of each.")
    ] = "full",
    order: Order = "sample",
    limit: PageLimit = 20,
    cursor: Cursor = None,
) -> schemas.Page[schemas.Archive] | schemas.Page[schemas.ArchiveCard] | Response:
    """List archives. With several filters but no `concept`, one concept must satisfy all of them.

    A page may have fewer items than `limit`, even none; go on while there is a `next`.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    listing = f"archives {curation} {archive_filter} {order}"
    after = read_cursor(listing, cursor)
    tag = conditional.make_tag(record.content_hash, listing, view, limit, cursor)
    if conditional.not_modified(request, tag):
        return not_modified(tag, archive_filter.judged)
    mark(response, tag, archive_filter.judged)
    if view == "card":
        cards = lists.list_cards(record, archive_filter=archive_filter, order=order, limit=limit, after=after)
        return make_page(listing, cards, lambda card: card, schemas.ArchiveCard)
    archive_page = lists.list_page(
        record, archive_filter=archive_filter, order=order, limit=limit, after=after
    )
    return make_page(listing, archive_page, lambda archive: archive, schemas.Archive)


@router.get("/facets", response_model=schemas.ArchiveFacets)
def get_archive_facets(
    *,
    curation: CurationId,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    facets: FacetsOf,
    tenant: Tenant,
    archive_filter: Filter,
    top: Annotated[int, Query(ge=1, le=100, description="The most concepts.")] = 20,
) -> schemas.ArchiveFacets | Response:
    """Count the archives that the filters select: in total, by concept, by best added score and by gain."""
    record = archives.completed(tenant=tenant, curation=curation)
    tag = conditional.make_tag("facets", record.content_hash, archive_filter, top)
    if conditional.not_modified(request, tag):
        return not_modified(tag, archive_filter.judged)
    counts = facets.get(record, archive_filter, top=top)
    mark(response, tag, archive_filter.judged)
    return counts


@router.get("/archives/{key:path}/adjacent", response_model=schemas.AdjacentArchives)
def get_adjacent_archives(
    *,
    curation: CurationId,
    key: SampleKey,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    lists: ArchiveListsOf,
    tenant: Tenant,
    archive_filter: Filter,
    order: Order = "sample",
) -> schemas.AdjacentArchives | Response:
    """Return which archives stand before and after this one in a list, and at which position it stands."""
    record = archives.completed(tenant=tenant, curation=curation)
    adjacent = lists.adjacent(record, key, archive_filter=archive_filter, order=order)
    tag = conditional.make_tag("adjacent", record.content_hash, key, archive_filter, order)
    if conditional.not_modified(request, tag):
        return not_modified(tag, archive_filter.judged)
    mark(response, tag, archive_filter.judged)
    return adjacent
