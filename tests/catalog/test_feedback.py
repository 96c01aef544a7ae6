"""Feedback in the catalog: one note per concept, of one tenant, in a file and on a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, delete, text
from tests.catalog.catalog_fixtures import TENANT

from cocu.catalog import Catalog, feedback, migrations, models, vocabularies
from cocu.catalog.feedback import FeedbackRecord
from cocu.errors import ConflictError, NotFoundError

OTHER = "somebody else"


@pytest.fixture
def vocabulary(catalog: Catalog) -> str:
    for tenant in (TENANT, OTHER):
        record, _ = vocabularies.create(
            catalog, tenant=tenant, name="things", version="1", hash="a" * 64, source="uploaded", concepts=3
        )
    return record.id


def said(
    catalog: Catalog, vocabulary: str, concept: str, action: str = "block", **values: Any
) -> FeedbackRecord:
    note = {"into": None, "note": None, "author": None, "check": lambda others: None, "tenant": TENANT}
    record, _ = feedback.store(
        catalog, vocabulary_id=vocabulary, concept=concept, action=action, **{**note, **values}
    )
    return record


def listed(catalog: Catalog, vocabulary: str, tenant: str = TENANT) -> list[str]:
    return [note.concept for note in feedback.list_all(catalog, tenant=tenant, vocabulary_id=vocabulary)]


def test_the_later_note_wins_and_keeps_the_one_before(catalog: Catalog, vocabulary: str) -> None:
    first = said(catalog, vocabulary, "dog", author="Ana")
    second = said(catalog, vocabulary, "dog", "merge", into="cat", author="Ben", note="alike")
    assert first.replaced is None
    assert second.replaced is not None
    assert second.replaced == {
        "action": "block",
        "into": None,
        "note": None,
        "author": "Ana",
        "created_at": pytest.approx(first.created_at.timestamp()),
    }
    third = said(catalog, vocabulary, "dog", "allow")
    assert third.replaced is not None
    assert (third.replaced["into"], third.replaced["author"]) == ("cat", "Ben")
    assert said(catalog, vocabulary, "dog", "allow") == third
    assert feedback.list_all(catalog, tenant=TENANT, vocabulary_id=vocabulary) == [third]
    assert third.created_at >= second.created_at >= first.created_at


def test_tenants_say_different_things(catalog: Catalog, vocabulary: str) -> None:
    said(catalog, vocabulary, "dog")
    said(catalog, vocabulary, "cat", tenant=OTHER)
    assert (listed(catalog, vocabulary), listed(catalog, vocabulary, OTHER)) == (["dog"], ["cat"])
    feedback.remove(catalog, tenant=OTHER, vocabulary_id=vocabulary, concept="dog")
    assert listed(catalog, vocabulary) == ["dog"]
    with pytest.raises(NotFoundError):
        feedback.get(catalog, tenant=OTHER, vocabulary_id=vocabulary, concept="dog")


def test_a_check_sees_the_other_notes_and_stops_the_new_one(catalog: Catalog, vocabulary: str) -> None:
    said(catalog, vocabulary, "dog")
    said(catalog, vocabulary, "cat")

    def check(others: Sequence[FeedbackRecord]) -> None:
        assert [note.concept for note in others] == ["cat"]
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        said(catalog, vocabulary, "dog", "allow", check=check)
    assert feedback.get(catalog, tenant=TENANT, vocabulary_id=vocabulary, concept="dog").action == "block"


def test_pages_are_by_the_bytes_of_concepts(catalog: Catalog, vocabulary: str) -> None:
    concepts = ["Zebra", "dog", "Ähre", "dog bed", "étoile"]
    for concept in concepts:
        said(catalog, vocabulary, concept)
    pages = [feedback.list_page(catalog, tenant=TENANT, vocabulary_id=vocabulary, limit=2)]
    while pages[-1].next is not None:
        pages.append(
            feedback.list_page(
                catalog, tenant=TENANT, vocabulary_id=vocabulary, limit=2, after=pages[-1].next
            )
        )
    assert [note.concept for page in pages for note in page.items] == sorted(concepts)


def test_a_catalog_from_before_takes_feedback(tmp_path: Path) -> None:
    """One of version 0004 with a vocabulary: it stays, and may be talked about."""
    file = tmp_path / "catalog.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        configuration = migrations.configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0004")
        connection.execute(
            text(
                "INSERT INTO vocabularies (tenant, id, name, version, hash, source, concepts, created_at) "
                f"VALUES ('{TENANT}', 'old', 'things', '1', 'hash', 'uploaded', 3, 0)"
            )
        )
    engine.dispose()
    catalog = Catalog.open(f"sqlite:///{file}")
    assert vocabularies.get(catalog, tenant=TENANT, vocabulary="things").id == "old"
    assert said(catalog, "old", "dog").replaced is None
    assert listed(catalog, "old") == ["dog"]
    catalog.close()


def test_feedback_goes_with_its_vocabulary(catalog: Catalog, vocabulary: str) -> None:
    said(catalog, vocabulary, "dog")
    with catalog.write() as connection:
        connection.execute(delete(models.Vocabulary).where(models.Vocabulary.tenant == TENANT))
    assert listed(catalog, vocabulary) == []
    with pytest.raises(NotFoundError):
        said(catalog, vocabulary, "dog")
