"""Vocabularies: the shipped one, and those that tenants upload or mine."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from cocu import schemas
from cocu.api import conditional, serializers, vocabularies
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


@router.delete("/{vocabulary}", status_code=204)
def delete_vocabulary(vocabulary: VocabularyId, platform: PlatformOf, tenant: Tenant) -> None:
    """Delete a vocabulary that no curation uses, by its id, with what was said about its concepts.

    409: curations use it, or it is the shipped one. Other versions stay.
    """
    vocabularies.delete(platform, tenant=tenant, vocabulary_id=vocabulary)


@router.get(
    "/{vocabulary}/document",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/plain": {"schema": {"type": "string"}},
            },
            "description": "The document; with `format=text`, lines.",
        }
    },
)
def get_vocabulary_document(
    *,
    vocabulary: VocabularyId,
    request: Request,
    platform: PlatformOf,
    tenant: Tenant,
    format_name: Annotated[
        Literal["json", "text"],
        Query(alias="format", description="`json`, or `text` for a concept a line."),
    ] = "json",
) -> Response:
    """Return a vocabulary in the form in which it can be sent again.

    json: sent as `document` it is the same vocabulary, with the same hash. text: lines `name = synonym,
    synonym`, for people to change and to send as `text`; the rules make the other forms again, and a comment
    names the concepts that get others than before. 409: lines cannot say what this vocabulary has.
    """
    record, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    tag = conditional.make_tag("vocabulary", record.hash, format_name)
    if conditional.not_modified(request, tag):
        # A name may mean a newer version tomorrow.
        return conditional.not_modified_response(tag, cache=conditional.CHECKED)
    if format_name == "json":
        return conditional.mark_checked(Response(loaded.to_json(), media_type="application/json"), tag)
    lines = vocabularies.as_lines(loaded)
    return conditional.mark_checked(Response(lines, media_type="text/plain"), tag)


@router.get("/{vocabulary}/concepts")
def list_concepts(
    *,
    vocabulary: VocabularyId,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    prefix: Annotated[
        str,
        Query(
            max_length=400,
            description="Only concepts whose names begin with this; case, accents and hyphens do not matter.",
        ),
    ] = "",
) -> schemas.Page[schemas.Concept]:
    """List the concepts of a vocabulary by name, with the forms in which captions may write them."""
    record, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    listing = f"concepts {record.id} {prefix}"
    after = read_cursor(listing, cursor)
    begin = 0 if after is None else int(after)
    found = loaded.with_prefix(prefix) if prefix else range(len(loaded))
    concepts = tuple(loaded.concepts[concept] for concept in found[begin : begin + limit])
    end = begin + len(concepts)
    return make_page(
        listing,
        Page(items=concepts, next=str(end) if end < len(found) else None),
        lambda concept: schemas.Concept(name=concept.name, forms=list(concept.forms)),
        schemas.Concept,
    )


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
