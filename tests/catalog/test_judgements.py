"""Judgements and kept labels in the catalog: one per pair or name, of one tenant, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, text
from tests.catalog.catalog_fixtures import TENANT, curation, filled

from cocu.catalog import Catalog, curations, datasets, judgements, label_sets, migrations
from cocu.catalog.judgements import JudgementRecord
from cocu.catalog.label_sets import LabelSetRecord
from cocu.errors import InvalidInputError, NotFoundError

OTHER = "somebody else"


@pytest.fixture
def dataset_id(catalog: Catalog) -> str:
    return filled(catalog, ["a", "b"])


@pytest.fixture
def curation_id(catalog: Catalog, dataset_id: str) -> str:
    return curation(catalog, dataset_id).curation.id


def judge(
    catalog: Catalog,
    curation_id: str,
    row: int = 0,
    concept_id: int = 0,
    right: bool | None = True,
    **options: Any,
) -> tuple[JudgementRecord, bool]:
    values = {"key": f"k{row}", "concept": f"c{concept_id}", "score": -1.5, "added": True, "dealt": row}
    return judgements.store(
        catalog,
        **{"tenant": TENANT, "author": None, **options},
        curation_id=curation_id,
        row=row,
        concept_id=concept_id,
        right=right,
        values=values,
    )


def keep(
    catalog: Catalog, dataset_id: str, name: str, hash: str = "h", tenant: str = TENANT
) -> LabelSetRecord:
    record, _ = label_sets.store(
        catalog,
        tenant=tenant,
        dataset_id=dataset_id,
        name=name,
        hash=hash,
        document=f"datasets/{dataset_id}/labels/{name}.json",
        sha256="s",
        label_map=None,
        images=1,
        classes=1,
        counts={"matched": 1},
    )
    return record


def test_the_later_judgement_wins_and_keeps_the_one_before(catalog: Catalog, curation_id: str) -> None:
    first, is_new = judge(catalog, curation_id, author="Ana")
    assert (is_new, first.replaced) == (True, None)
    second, is_new = judge(catalog, curation_id, right=None, author="Ben")
    assert is_new is False
    assert second.replaced == {
        "right": True,
        "author": "Ana",
        "created_at": pytest.approx(first.created_at.timestamp()),
    }
    assert judge(catalog, curation_id, right=None, author="Ben") == (second, False)
    assert judgements.get(catalog, tenant=TENANT, curation_id=curation_id, row=0, concept_id=0) == second
    assert judgements.count(catalog, tenant=TENANT, curation_id=curation_id) == {None: 1}
    assert judgements.dealt(catalog, tenant=TENANT, curation_id=curation_id) == {0: None}


def test_of_many_at_once_the_last_is_kept(catalog: Catalog, curation_id: str) -> None:
    barrier = threading.Barrier(4)

    def say(number: int) -> None:
        barrier.wait()
        judge(catalog, curation_id, right=number % 2 == 0, author=str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(say, range(4)))
    page = judgements.list_page(catalog, tenant=TENANT, curation_id=curation_id, limit=10)
    assert len(page.items) == 1
    assert page.items[0].replaced is not None
    assert page.items[0].replaced["author"] != page.items[0].author


def test_pages_are_in_the_order_of_samples(catalog: Catalog, curation_id: str) -> None:
    pairs = [(row, concept_id) for row in (10, 2, 0) for concept_id in (3, 20)]
    for pair in pairs:
        judge(catalog, curation_id, *pair)
    listed, after = [], None
    while True:
        page = judgements.list_page(catalog, tenant=TENANT, curation_id=curation_id, limit=2, after=after)
        listed += [(record.row, record.concept_id) for record in page.items]
        after = page.next
        if after is None:
            break
    assert listed == sorted(pairs)
    for cursor in ("", "x:y", "1"):
        with pytest.raises(InvalidInputError):
            judgements.list_page(catalog, tenant=TENANT, curation_id=curation_id, limit=2, after=cursor)


def test_others_see_and_say_nothing(catalog: Catalog, dataset_id: str, curation_id: str) -> None:
    judge(catalog, curation_id)
    keep(catalog, dataset_id, "drawn")
    with pytest.raises(NotFoundError):
        judge(catalog, curation_id, tenant=OTHER)
    with pytest.raises(NotFoundError):
        keep(catalog, dataset_id, "drawn", tenant=OTHER)
    with pytest.raises(NotFoundError):
        curations.set_threshold(catalog, tenant=OTHER, curation_id=curation_id, threshold=1.0)
    judgements.remove(catalog, tenant=OTHER, curation_id=curation_id, row=0, concept_id=0)
    assert label_sets.remove(catalog, tenant=OTHER, dataset_id=dataset_id, name="drawn") is None
    assert judgements.count(catalog, tenant=OTHER, curation_id=curation_id) == {}
    assert judgements.count(catalog, tenant=TENANT, curation_id=curation_id) == {True: 1}
    assert label_sets.get(catalog, tenant=TENANT, dataset_id=dataset_id, name="drawn").hash == "h"


def test_labels_are_replaced_by_name(catalog: Catalog, dataset_id: str) -> None:
    keep(catalog, dataset_id, "b", "first")
    keep(catalog, dataset_id, "B", "first")
    assert label_sets.is_kept(catalog, dataset_id=dataset_id, hash="first")
    for name in ("b", "B"):
        keep(catalog, dataset_id, name, "second")
    assert not label_sets.is_kept(catalog, dataset_id=dataset_id, hash="first")
    first = label_sets.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=1)
    assert [record.name for record in first.items] == ["B"]
    second = label_sets.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=1, after=first.next)
    assert ([record.name for record in second.items], second.next) == (["b"], None)


def test_everything_goes_with_the_dataset(catalog: Catalog, dataset_id: str, curation_id: str) -> None:
    judge(catalog, curation_id)
    keep(catalog, dataset_id, "drawn")
    datasets.finish_deletion(catalog, dataset_id=dataset_id)
    assert judgements.count(catalog, tenant=TENANT, curation_id=curation_id) == {}
    assert not label_sets.is_kept(catalog, dataset_id=dataset_id, hash="h")


def test_a_threshold_is_set_and_taken_back(catalog: Catalog, curation_id: str) -> None:
    assert curations.get(catalog, tenant=TENANT, curation_id=curation_id).threshold is None
    for threshold in (-2.25, None):
        record = curations.set_threshold(catalog, tenant=TENANT, curation_id=curation_id, threshold=threshold)
        assert record.threshold == threshold
        assert curations.get(catalog, tenant=TENANT, curation_id=curation_id) == record


def test_a_catalog_from_before_takes_judgements(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        configuration = migrations.configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0006")
        connection.execute(
            text(
                "INSERT INTO datasets (id, tenant, name, state, created_at) "
                f"VALUES ('d', '{TENANT}', 'photographs', 'active', 0)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO curations (id, tenant, dataset_id, snapshot_hash, samples, encoder, "
                "encoder_hash, vocabulary_id, vocabulary_hash, parameters, parameters_hash, state, stage, "
                "created_at) VALUES "
                f"('c', '{TENANT}', 'd', 's', 2, 'e', 'e', 'v', 'v', '{{}}', 'p', 'completed', 'publish', 0)"
            )
        )
    engine.dispose()
    catalog = Catalog.open(f"sqlite:///{file}")
    assert curations.get(catalog, tenant=TENANT, curation_id="c").threshold is None
    assert judge(catalog, "c")[1]
    catalog.close()
