"""Datasets, uploads, samples, rejections, vocabularies, evaluations: the queries of a tenant."""

from __future__ import annotations

import pytest
from tests.catalog.catalog_fixtures import TENANT, curation, dataset, filled, ingest, received

from cocu.catalog import (
    Catalog,
    Page,
    curations,
    datasets,
    evaluations,
    events,
    rejections,
    samples,
    uploads,
    vocabularies,
)
from cocu.errors import ConflictError, InvalidInputError, NotFoundError
from cocu.pipeline import progress, submit, submit_uploads

OTHER = "somebody else"


def test_a_name_belongs_to_one_dataset_of_a_tenant(catalog: Catalog) -> None:
    dataset(catalog, name="a")
    dataset(catalog, name="a", tenant=OTHER)

    with pytest.raises(ConflictError, match="'a'"):
        dataset(catalog, name="a")


def test_a_list_in_pages_is_the_whole_list(catalog: Catalog) -> None:
    ids = [dataset(catalog, name=f"{number}") for number in range(5)]
    dataset(catalog, tenant=OTHER)
    pages: list[Page[datasets.DatasetRecord]] = [datasets.list_page(catalog, tenant=TENANT, limit=2)]
    while pages[-1].next is not None:
        pages.append(datasets.list_page(catalog, tenant=TENANT, limit=2, after=pages[-1].next))

    assert [len(page.items) for page in pages] == [2, 2, 1]
    assert [record.id for page in pages for record in page.items] == ids


def test_a_dataset_counts_what_is_in_it(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a", "b"], ["c"])
    received(catalog, dataset_id, "b.tar")

    record = datasets.get(catalog, tenant=TENANT, dataset_id=dataset_id)
    assert (record.uploads, record.ingesting, record.shards, record.samples, record.bytes) == (2, 1, 2, 3, 20)


def test_an_upload_sent_twice_is_one_upload(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    upload_id, _ = received(catalog, dataset_id, "a.tar")
    again = uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar")
    same = {"tenant": TENANT, "upload_id": upload_id, "object_path": "other", "size": 1}

    assert again.id == upload_id
    record, task_refs = submit_uploads.receive_upload(catalog, **same, sha256="hash of a.tar")
    assert (record.object_path, task_refs) == ("files/a.tar", [])
    with pytest.raises(ConflictError, match="other content"):
        submit_uploads.receive_upload(catalog, **same, sha256="something else")


def test_uploads_are_ordered_by_when_they_were_complete(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="slow.tar")
    received(catalog, dataset_id, "quick.tar")
    received(catalog, dataset_id, "slow.tar")

    listed = uploads.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=9).items
    assert {upload.name: upload.ordinal for upload in listed} == {"quick.tar": 0, "slow.tar": 1}


def test_an_upload_that_broke_off_starts_over(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    upload = uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar")
    uploads.fail(catalog, tenant=TENANT, upload_id=upload.id, error="the \0 connection \udcff broke")

    failed = uploads.get(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar")
    assert failed.state == "failed"
    assert failed.error == "the � connection ? broke"
    again = uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar")
    assert (again.id, again.state, again.error) == (upload.id, "receiving", None)


def test_a_received_upload_cannot_fail_any_more(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    upload_id, _ = received(catalog, dataset_id, "a.tar")
    uploads.fail(catalog, tenant=TENANT, upload_id=upload_id, error="late")

    assert uploads.get(catalog, tenant=TENANT, dataset_id=dataset_id, name="a.tar").state == "received"


def test_samples_are_found_and_listed_by_key(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["b", "a"], ["ä/ö'\""])

    sample = samples.find(catalog, tenant=TENANT, dataset_id=dataset_id, key="a")
    assert sample.row == 1
    page = samples.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=2)
    assert [sample.key for sample in page.items] == ["a", "b"]
    page = samples.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=2, after=page.next)
    assert [sample.key for sample in page.items] == ["ä/ö'\""]
    with pytest.raises(NotFoundError):
        samples.find(catalog, tenant=TENANT, dataset_id=dataset_id, key="A")


def test_an_earlier_upload_takes_its_key_back_from_a_later_one(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    first, first_task = received(catalog, dataset_id, "a.tar")
    second, second_task = received(catalog, dataset_id, "b.tar")
    assert ingest(catalog, second_task, second, ["x", "y"]) == []
    assert ingest(catalog, first_task, first, ["w", "x"]) == [(second_task, "ingest")]

    assert datasets.get(catalog, tenant=TENANT, dataset_id=dataset_id).ingesting == 1
    owned = samples.owned_before(catalog, dataset_id=dataset_id, ordinal=1, keys=["x", "y", "z"])
    assert owned == {"x"}
    assert ingest(catalog, second_task, second, ["y"]) == []
    listed = samples.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=9).items
    assert [(sample.key, sample.shard_id) for sample in listed] == [
        ("w", f"{first}-0"),
        ("x", f"{first}-0"),
        ("y", f"{second}-0"),
    ]


def test_an_ingest_that_missed_an_earlier_upload_is_done_again(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    first, first_task = received(catalog, dataset_id, "a.tar")
    second, second_task = received(catalog, dataset_id, "b.tar")
    ingest(catalog, first_task, first, ["x"])

    # It looked for owned keys before the first upload was there.
    assert ingest(catalog, second_task, second, ["x", "y"]) == [(second_task, "ingest")]
    assert [
        sample.key
        for sample in samples.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=9).items
    ] == ["x"]


def test_files_are_kept_while_an_earlier_upload_may_take_keys(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    first, first_task = received(catalog, dataset_id, "a.tar")
    second, second_task = received(catalog, dataset_id, "b.tar")
    ingest(catalog, second_task, second, ["y"])
    assert uploads.discardable(catalog, dataset_id=dataset_id) == []

    ingest(catalog, first_task, first, ["x"])
    discardable = uploads.discardable(catalog, dataset_id=dataset_id)
    assert {upload.object_path for upload in discardable} == {"files/a.tar", "files/b.tar"}
    uploads.forget_object(catalog, upload_id=first)
    assert [upload.id for upload in uploads.discardable(catalog, dataset_id=dataset_id)] == [second]


def test_rejections_are_counted_and_listed_by_reason(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    upload_id, task_id = received(catalog, dataset_id, "a.tar")
    rejected = [
        rejections.NewRejection(reason=reason, key=f"{number}", member=f"{number}\0.jpg", detail="why")
        for number, reason in enumerate(["broken", "no_caption", "broken"])
    ]
    ingest(catalog, task_id, upload_id, ["a"], rejected=rejected)

    report = rejections.report(catalog, tenant=TENANT, dataset_id=dataset_id)
    assert (report.accepted, report.skipped, report.failed) == (1, {"broken": 2, "no_caption": 1}, {})
    page = rejections.list_page(catalog, tenant=TENANT, dataset_id=dataset_id, limit=1, reason="broken")
    assert [rejection.key for rejection in page.items] == ["0"]
    page = rejections.list_page(
        catalog, tenant=TENANT, dataset_id=dataset_id, limit=1, reason="broken", after=page.next
    )
    assert ([rejection.member for rejection in page.items], page.next) == (["2�.jpg"], None)
    assert rejections.report(catalog, tenant=OTHER, dataset_id=dataset_id).accepted == 0


@pytest.mark.parametrize("cursor", ["", "-1", "1 OR 1=1", "9" * 40, "१"])
def test_a_cursor_of_another_list_is_refused(catalog: Catalog, cursor: str) -> None:
    with pytest.raises(InvalidInputError):
        rejections.list_page(catalog, tenant=TENANT, dataset_id="d", limit=1, after=cursor)
    with pytest.raises(InvalidInputError):
        curations.list_page(catalog, tenant=TENANT, limit=1, after=cursor)


def test_the_same_vocabulary_twice_is_one(catalog: Catalog) -> None:
    vocabulary = {"tenant": TENANT, "name": "n", "version": "1", "source": "uploaded", "concepts": 3}
    first, new = vocabularies.create(catalog, **vocabulary, hash="a" * 64)
    assert new
    assert vocabularies.create(catalog, **vocabulary, hash="a" * 64) == (first, False)
    with pytest.raises(ConflictError, match="another version"):
        vocabularies.create(catalog, **vocabulary, hash="b" * 64)
    assert vocabularies.get(catalog, tenant=TENANT, vocabulary="n") == first
    assert vocabularies.get(catalog, tenant=TENANT, vocabulary=first.id) == first
    with pytest.raises(NotFoundError):
        vocabularies.get(catalog, tenant=OTHER, vocabulary=first.id)


def test_the_same_evaluation_twice_is_one(catalog: Catalog) -> None:
    run = curation(catalog, filled(catalog, ["a"])).curation.id
    evaluation = {"tenant": TENANT, "curation_id": run, "labels_hash": "h", "parameters": {"depths": [1, 5]}}
    first, new = evaluations.store(catalog, **evaluation, metrics={"recall": 0.5})
    again, newer = evaluations.store(catalog, **evaluation, metrics={"recall": 0.7})

    assert (new, newer) == (True, False)
    assert again == first
    assert evaluations.get(catalog, tenant=TENANT, curation_id=run, evaluation_id=first.id) == first
    assert evaluations.list_page(catalog, tenant=TENANT, curation_id=run, limit=5).items == (first,)
    with pytest.raises(NotFoundError):
        evaluations.get(catalog, tenant=OTHER, curation_id=run, evaluation_id=first.id)


def test_rows_of_a_shard_begin_after_those_of_the_shards_before_it(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a", "b"], ["c"], ["d", "e", "f"])
    upload_id, task_id = received(catalog, dataset_id, "b.tar")
    ingest(catalog, task_id, upload_id, ["g"], ["h"])

    first_rows = [
        samples.first_row(catalog, dataset_id=dataset_id, shard_id=shard.id)
        for shard in samples.shards(catalog, tenant=TENANT, dataset_id=dataset_id)
    ]
    assert first_rows == [0, 2, 3, 6, 7]
    assert samples.first_row(catalog, dataset_id=dataset_id, shard_id="gone") == 0


def test_nothing_of_another_tenant_is_seen(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    run = curation(catalog, dataset_id).curation.id
    of_dataset = {"tenant": OTHER, "dataset_id": dataset_id}
    of_run = {"tenant": OTHER, "curation_id": run}

    for refused in (
        lambda: datasets.get(catalog, **of_dataset),
        lambda: submit.delete_dataset(catalog, **of_dataset),
        lambda: uploads.register(catalog, **of_dataset, name="b.tar"),
        lambda: uploads.get(catalog, **of_dataset, name="a.tar"),
        lambda: samples.find(catalog, **of_dataset, key="a"),
        lambda: curation(catalog, dataset_id, tenant=OTHER),
        lambda: curations.get(catalog, **of_run),
        lambda: curations.cancel(catalog, **of_run),
        lambda: progress.of_curation(catalog, **of_run),
    ):
        with pytest.raises(NotFoundError):
            refused()
    assert uploads.list_page(catalog, **of_dataset, limit=9).items == ()
    assert uploads.names(catalog, **of_dataset) == {}
    assert samples.list_page(catalog, **of_dataset, limit=9).items == ()
    assert samples.shards(catalog, **of_dataset) == []
    assert rejections.list_page(catalog, **of_dataset, limit=9).items == ()
    assert curations.list_page(catalog, tenant=OTHER, limit=9).items == ()
    assert events.since(catalog, **of_run) == []
    assert curations.get(catalog, tenant=TENANT, curation_id=run).state == "queued"
