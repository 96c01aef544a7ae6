"""Feedback about concepts of a vocabulary: block, allow or merge them in its next version."""

from __future__ import annotations

from fastapi import APIRouter, Response

from cocu import schemas
from cocu.api.dependencies import PlatformOf, Tenant, VocabularyId
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.paths import ConceptInPath
from cocu.api.queries import feedback
from cocu.client.transport import segment

router = APIRouter(
    prefix="/v1/vocabularies/{vocabulary}/feedback", tags=["vocabularies"], route_class=IdempotentRoute
)


@router.post("", status_code=201)
def create_feedback(
    *,
    vocabulary: VocabularyId,
    body: schemas.FeedbackCreate,
    platform: PlatformOf,
    tenant: Tenant,
    response: Response,
) -> schemas.Feedback:
    """Block, allow or merge a concept in the next version of a vocabulary; this version does not change.

    One note is kept for each concept, the latest; 200 if there was one before, which `replaced` then shows.
    The next version is made by POST /v1/vocabularies with `from` and `feedback`.
    """
    note, is_new = feedback.store(platform, tenant=tenant, vocabulary=vocabulary, request=body)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/vocabularies/{note.vocabulary}/feedback/{segment(note.concept)}"
    return note


@router.get("")
def list_feedback(
    *,
    vocabulary: VocabularyId,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.Page[schemas.Feedback]:
    """List what was said about concepts of a vocabulary, by concept."""
    record, _ = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    listing = f"feedback {record.id}"
    notes = feedback.list_page(
        platform, tenant=tenant, vocabulary=record, limit=limit, after=read_cursor(listing, cursor)
    )
    return make_page(listing, notes, lambda note: note, schemas.Feedback)


@router.get("/{concept:path}")
def get_feedback(
    *, vocabulary: VocabularyId, concept: ConceptInPath, platform: PlatformOf, tenant: Tenant
) -> schemas.Feedback:
    """Return what was said about a concept. 404 if nothing was."""
    return feedback.get(platform, tenant=tenant, vocabulary=vocabulary, concept=concept)


@router.delete("/{concept:path}", status_code=204)
def delete_feedback(
    *, vocabulary: VocabularyId, concept: ConceptInPath, platform: PlatformOf, tenant: Tenant
) -> None:
    """Undo what was said about a concept; 204 also if nothing was."""
    feedback.remove(platform, tenant=tenant, vocabulary=vocabulary, concept=concept)
