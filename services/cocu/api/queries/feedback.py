"""Feedback about the concepts of a vocabulary: checked, kept, and made its next version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cocu import schemas
from cocu.catalog import feedback
from cocu.catalog.feedback import FeedbackRecord
from cocu.catalog.records import Page
from cocu.catalog.vocabularies import VocabularyRecord
from cocu.curation.vocabulary import Vocabulary
from cocu.curation.vocabulary_feedback import apply_feedback, follow_merges
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform

MAX_NAME = 400
"""Characters of a concept that feedback may be about: every index of a database takes so many."""
_MARK = "-feedback-"


def store(
    platform: Platform, *, tenant: str, vocabulary: str, request: schemas.FeedbackCreate
) -> tuple[schemas.Feedback, bool]:
    """Keep a note in place of the one before about its concept; return it, and whether it is the first.

    Raises NotFoundError without the vocabulary; InvalidInputError for an unknown concept, for one merged into
    itself, and for merges that would go round in a circle.
    """
    record, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    concept = _find(loaded, request.concept, field="body.concept")
    into = None if request.into is None else _find(loaded, request.into, field="body.into")
    if concept == into:
        raise InvalidInputError(
            "A concept cannot become itself.",
            {"body.into": f"{request.into!r} and {request.concept!r} are one concept, {concept!r}"},
        )

    def check(others: Sequence[FeedbackRecord]) -> None:
        merged = {note.concept: note.into for note in others if note.into is not None}
        if into is not None:
            try:
                list(follow_merges({**merged, concept: into}, concept))
            except ValueError as error:
                raise InvalidInputError(
                    "The merge cannot be made.", {"body.into": f"{error}; undo one of these merges first"}
                ) from error

    stored, is_new = feedback.store(
        platform.catalog,
        tenant=tenant,
        vocabulary_id=record.id,
        concept=concept,
        action=request.action,
        into=into,
        note=request.note,
        author=request.author,
        check=check,
    )
    return describe(record.id, stored), is_new


def get(platform: Platform, *, tenant: str, vocabulary: str, concept: str) -> schemas.Feedback:
    """Return the note about a concept. Raises NotFoundError without one."""
    record, name = _named(platform, tenant, vocabulary, concept)
    return describe(
        record.id, feedback.get(platform.catalog, tenant=tenant, vocabulary_id=record.id, concept=name)
    )


def remove(platform: Platform, *, tenant: str, vocabulary: str, concept: str) -> None:
    """Undo what was said about a concept. Raises NotFoundError for one that the vocabulary does not have."""
    record, name = _named(platform, tenant, vocabulary, concept)
    feedback.remove(platform.catalog, tenant=tenant, vocabulary_id=record.id, concept=name)


def list_page(
    platform: Platform, *, tenant: str, vocabulary: VocabularyRecord, limit: int, after: str | None
) -> Page[schemas.Feedback]:
    """Return the notes about concepts of a vocabulary, by concept."""
    notes = feedback.list_page(
        platform.catalog, tenant=tenant, vocabulary_id=vocabulary.id, limit=limit, after=after
    )
    return Page(items=tuple(describe(vocabulary.id, note) for note in notes.items), next=notes.next)


def next_version(
    platform: Platform, *, tenant: str, record: VocabularyRecord, vocabulary: Vocabulary
) -> Vocabulary:
    """Return a vocabulary after what was said about it; the vocabulary itself if that changes nothing.

    The version is a hash of the vocabulary before and of what is blocked and merged, so the same feedback
    gives the same vocabulary, whoever gave it and whatever notes are with it.
    """
    notes = feedback.list_all(platform.catalog, tenant=tenant, vocabulary_id=record.id)
    blocked = [note.concept for note in notes if note.action == "block"]
    merged = {note.concept: note.into for note in notes if note.into is not None}
    if not blocked and not merged:
        return vocabulary
    content = json.dumps([vocabulary.hash, blocked, merged], sort_keys=True).encode()
    version = vocabulary.version.partition(_MARK)[0] + _MARK + hashlib.sha256(content).hexdigest()[:12]
    return replace(apply_feedback(vocabulary, blocked=blocked, merged=merged), version=version)


def describe(vocabulary_id: str, note: FeedbackRecord) -> schemas.Feedback:
    """Return a note as the API tells it."""
    return schemas.Feedback.model_validate(
        {
            "vocabulary": vocabulary_id,
            "concept": note.concept,
            "action": note.action,
            "into": note.into,
            "note": note.note,
            "author": note.author,
            "created_at": note.created_at,
            "replaced": None if note.replaced is None else _with_time(note.replaced),
        }
    )


def _with_time(replaced: dict[str, Any]) -> dict[str, Any]:
    return {**replaced, "created_at": datetime.fromtimestamp(replaced["created_at"], UTC)}


def _find(vocabulary: Vocabulary, text: str, *, field: str) -> str:
    concept_id = vocabulary.find(text)
    if concept_id is None:
        raise InvalidInputError(
            "The vocabulary has no such concept.",
            {field: "list the concepts with GET /v1/vocabularies/{id}/concepts"},
        )
    name = vocabulary.names[concept_id]
    if len(name) > MAX_NAME:
        raise InvalidInputError(
            "The name of the concept is too long for feedback.",
            {field: f"it has {len(name):,} characters, and {MAX_NAME} are the most; shorten it"},
        )
    return name


def _named(platform: Platform, tenant: str, vocabulary: str, concept: str) -> tuple[VocabularyRecord, str]:
    record, loaded = platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
    concept_id = loaded.find(concept)
    if concept_id is None:
        raise NotFoundError("the vocabulary has no such concept")
    return record, loaded.names[concept_id]
