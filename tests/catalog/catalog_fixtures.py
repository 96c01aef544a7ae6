"""Catalogs with something in them, without any file being read."""

from __future__ import annotations

from collections.abc import Sequence

from cocu.catalog import Catalog, datasets, rejections, uploads, vocabularies
from cocu.catalog.samples import NewShard
from cocu.pipeline import ingest_result, planner, submit, submit_uploads
from cocu.pipeline.submit import Created

TENANT = "somebody"


def dataset(catalog: Catalog, *, name: str = "photographs", tenant: str = TENANT) -> str:
    return datasets.create(catalog, tenant=tenant, name=name).id


def received(catalog: Catalog, dataset_id: str, name: str, *, tenant: str = TENANT) -> tuple[str, str]:
    """An upload that has arrived: its id and the task that ingests it."""
    upload = uploads.register(catalog, tenant=tenant, dataset_id=dataset_id, name=name)
    _, task_refs = submit_uploads.receive_upload(
        catalog,
        tenant=tenant,
        upload_id=upload.id,
        object_path=f"files/{name}",
        size=1,
        sha256=f"hash of {name}",
    )
    ((task_id, _),) = task_refs
    return upload.id, task_id


def take(catalog: Catalog, task_id: str, owner: str = "worker", *, seconds: float = 60.0) -> bool:
    taken = planner.take(catalog, task_id=task_id, owner=owner, lease_seconds=seconds, max_lost_leases=20)
    return taken.task is not None


def ingest(
    catalog: Catalog,
    task_id: str,
    upload_id: str,
    *shards: Sequence[str],
    rejected: Sequence[rejections.NewRejection] = (),
) -> list[tuple[str, str]]:
    """Ingests an upload into shards of these keys."""
    assert take(catalog, task_id)
    new = [
        NewShard(id=f"{upload_id}-{number}", keys=tuple(keys), bytes=10, sha256="/".join(keys))
        for number, keys in enumerate(shards)
    ]
    return ingest_result.store_ingested(
        catalog, task_id=task_id, owner="worker", upload_id=upload_id, shards=new, rejected=rejected
    )


def filled(catalog: Catalog, *shards: Sequence[str], name: str = "photographs", tenant: str = TENANT) -> str:
    """A dataset with shards of these keys."""
    dataset_id = dataset(catalog, name=name, tenant=tenant)
    upload_id, task_id = received(catalog, dataset_id, "a.tar", tenant=tenant)
    ingest(catalog, task_id, upload_id, *shards)
    return dataset_id


def curation(
    catalog: Catalog,
    dataset_id: str,
    *,
    tenant: str = TENANT,
    encoder: str = "encoder",
    parameters: str = "p",
) -> Created:
    vocabulary, _ = vocabularies.create(
        catalog, tenant=tenant, name="v", version="1", hash="hash of v", source="uploaded", concepts=1
    )
    return submit.create_curation(
        catalog,
        tenant=tenant,
        dataset_id=dataset_id,
        encoder=encoder,
        encoder_hash=f"hash of {encoder}",
        vocabulary_id=vocabulary.id,
        vocabulary_hash=vocabulary.hash,
        parameters={"seed": 0},
        parameters_hash=parameters,
    )


def finish(catalog: Catalog, task_id: str) -> list[tuple[str, str]]:
    """Runs a task without doing anything."""
    assert take(catalog, task_id)
    return planner.finish(catalog, task_id=task_id, owner="worker")
