"""Concepts of a curation: how often they occur before and after, and together with which others."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from cocu import schemas
from cocu.api import conditional
from cocu.api.binary_answers import ARROW, binary_content
from cocu.api.dependencies import ArchivesOf, ConceptsOf, ConceptSpaceOf, CurationId, Tenant
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.paths import ConceptInPath
from cocu.api.queries.similar_concepts import find_similar
from cocu.batches.encodings import quality

router = APIRouter(prefix="/v1/curations/{curation}/concepts", tags=["concepts"])


VARY = "Accept, Accept-Encoding"


@router.get(
    "",
    response_model=schemas.Page[schemas.ConceptFrequency],
    responses=binary_content(ARROW, "A page; as Arrow, the whole list."),
)
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
        schemas.ConceptOrder,
        Query(description="By number of archives, captions or additions, largest first; or by name."),
    ] = "archives",
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> schemas.Page[schemas.ConceptFrequency] | Response:
    """List the concepts that captions (before) or archives (after) name, with their frequencies.

    With `Accept: application/vnd.apache.arrow.stream` all of them, in an Arrow IPC stream of one record
    batch: concept, forms (list of strings), captions, archives, added, captions_rank, archives_rank (int64;
    a rank is null where the count is 0). `limit` and `cursor` do not apply to it.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    listing = f"concepts {curation} {record.content_hash} {order}"
    response.headers["Vary"] = "Accept"
    if quality(accept, ARROW) > quality(accept, "application/json"):
        tag = conditional.make_tag(listing, ARROW)
        if conditional.not_modified(request, tag):
            return conditional.not_modified_response(tag, vary=VARY)
        table = Response(concepts.table_stream(record, order=order), media_type=ARROW)
        table.headers["Vary"] = "Accept"
        return conditional.mark_immutable(table, tag)
    after = read_cursor(listing, cursor)
    tag = conditional.make_tag(listing, limit, cursor)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag, vary=VARY)
    concept_page = concepts.list_page(record, order=order, limit=limit, after=after)
    conditional.mark_immutable(response, tag)
    return make_page(listing, concept_page, lambda frequency: frequency, schemas.ConceptFrequency)


@router.get("/{concept:path}", response_model=schemas.ConceptDetail)
def get_curation_concept(
    *,
    curation: CurationId,
    concept: ConceptInPath,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    concepts: ConceptsOf,
    space: ConceptSpaceOf,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=100, description="The most concepts, and the most samples.")] = 20,
) -> schemas.ConceptDetail | Response:
    """Return one concept: its forms and frequencies, what it occurs with, where it scores best, what is near.

    `similar` is null while it is computed, which takes the longer the larger the vocabulary is: ask again.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    detail = concepts.get(record, concept, limit=limit)
    similar = find_similar(space, record, detail.concept, limit=limit)
    tag = conditional.make_tag("concept 2", record.content_hash, detail.concept, limit, similar is None)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    conditional.mark_immutable(response, tag)
    if similar is None:
        response.headers["Cache-Control"] = "private, no-cache"
    return detail.model_copy(update={"similar": similar})
