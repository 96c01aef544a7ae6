"""Deleting vocabularies in the catalog: never one that a curation uses, also when both happen at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.catalog.catalog_fixtures import TENANT, curation, filled

from cocu.catalog import Catalog, feedback, vocabularies
from cocu.errors import CocuError, ConflictError, NotFoundError
from cocu.pipeline import submit

OTHER = "somebody else"
HASH = "hash of v"


def add(catalog: Catalog, tenant: str = TENANT) -> str:
    record, _ = vocabularies.create(
        catalog, tenant=tenant, name="v", version="1", hash=HASH, source="uploaded", concepts=1
    )
    return record.id


def delete(catalog: Catalog) -> None:
    vocabularies.delete(catalog, tenant=TENANT, vocabulary_id=vocabularies.identity(HASH))


def is_there(catalog: Catalog) -> bool:
    return vocabularies.count(catalog, tenant=TENANT) > 0


class AtOnce:
    """Something done by a thread in the middle of something else, and what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.error: CocuError | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._work()
        except CocuError as error:
            self.error = error

    def begin(self) -> None:
        """Start it, and give it time to end, which it does if nothing holds it up."""
        self._thread.start()
        self._thread.join(1)

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_it_goes_with_what_was_said_and_leaves_those_of_others(catalog: Catalog) -> None:
    identity = add(catalog)
    add(catalog, OTHER)
    for tenant in (TENANT, OTHER):
        feedback.store(
            catalog,
            tenant=tenant,
            vocabulary_id=identity,
            concept="dog",
            action="block",
            into=None,
            note=None,
            author=None,
            check=lambda others: None,
        )
    delete(catalog)
    assert not is_there(catalog)
    assert feedback.list_all(catalog, tenant=TENANT, vocabulary_id=identity) == []
    assert len(feedback.list_all(catalog, tenant=OTHER, vocabulary_id=identity)) == 1
    with pytest.raises(NotFoundError):
        delete(catalog)
    add(catalog)
    assert feedback.list_all(catalog, tenant=TENANT, vocabulary_id=identity) == []


def test_it_stays_while_curations_use_it(catalog: Catalog) -> None:
    first, second = (filled(catalog, ["a"], name=name) for name in ("first", "second"))
    curation(catalog, first)
    curation(catalog, second)
    with pytest.raises(ConflictError, match="2 curations use this vocabulary"):
        delete(catalog)
    submit.delete_dataset(catalog, tenant=TENANT, dataset_id=first)
    with pytest.raises(ConflictError, match="1 curation uses this vocabulary"):
        delete(catalog)
    submit.delete_dataset(catalog, tenant=TENANT, dataset_id=second)
    delete(catalog)
    assert not is_there(catalog)


def test_deleted_while_a_curation_is_being_created(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = filled(catalog, ["a"])
    at_once, begin = AtOnce(lambda: delete(catalog)), submit.planner.begin

    def begin_slowly(*arguments: Any, **options: Any) -> Any:
        at_once.begin()
        return begin(*arguments, **options)

    monkeypatch.setattr(submit.planner, "begin", begin_slowly)
    curation(catalog, dataset)
    at_once.end()
    assert isinstance(at_once.error, ConflictError)
    assert is_there(catalog)


def test_a_curation_is_created_while_it_is_being_deleted(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = filled(catalog, ["a"])
    add(catalog)
    made = threading.Event()

    def create() -> None:
        submit.create_curation(
            catalog,
            tenant=TENANT,
            dataset_id=dataset,
            encoder="encoder",
            encoder_hash="hash of encoder",
            vocabulary_id=vocabularies.identity(HASH),
            vocabulary_hash=HASH,
            parameters={},
            parameters_hash="p",
        )
        made.set()

    at_once, delete_rows = AtOnce(create), vocabularies.delete_rows

    def delete_slowly(*arguments: Any) -> Any:
        at_once.begin()
        return delete_rows(*arguments)

    monkeypatch.setattr(vocabularies, "delete_rows", delete_slowly)
    delete(catalog)
    at_once.end()
    assert not made.is_set()
    assert isinstance(at_once.error, ConflictError)
    assert "deleted meanwhile" in str(at_once.error)
