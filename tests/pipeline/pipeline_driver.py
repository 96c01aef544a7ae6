"""Driving a platform as the API does, and running its tasks one after the other in the test's own thread."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cocu.catalog import curations, datasets, tasks, uploads
from cocu.catalog.curations import CurationRecord
from cocu.catalog.records import new_id
from cocu.catalog.states import ACTIVE_CURATIONS
from cocu.catalog.tasks import TaskRef
from cocu.curation.parameters import CurationParameters
from cocu.curation.vocabulary import Vocabulary
from cocu.pipeline import submit, submit_uploads
from cocu.pipeline.worker import run_task
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage import paths, tables

TENANT = "somebody"
WORDS = ("dog", "cat", "bench", "tree", "car", "boat")
PATIENCE = 150.0

Samples = Mapping[str, tuple[bytes, str]]
"""Image and caption by key."""


def settings(folder: Path, encoders: Path, **changes: Any) -> Settings:
    """Settings with short times, so that tests need not wait."""
    quick = {"sweep_seconds": 0.05, "retry_seconds": 0.01, "lease_seconds": 5.0}
    return Settings(data_folder=folder, encoders_url=str(encoders), **(quick | changes))


def noise_png(seed: int, *, side: int = 16) -> bytes:
    """Return a small PNG of noise; two seeds give images that are not similar at all."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels))


def encoded(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def some_samples(count: int, *, first: int = 0) -> dict[str, tuple[bytes, str]]:
    """Noise with captions of one or two words that the tiny vocabulary knows."""
    return {
        f"{number:05d}": (
            noise_png(number),
            f"a photo of a {WORDS[number % 6]} and a {WORDS[(number // 6) % 6]}",
        )
        for number in range(first, first + count)
    }


def tar_of(samples: Samples) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for key, (image, caption) in samples.items():
            for name, data in ((f"{key}.png", image), (f"{key}.txt", caption.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def send(platform: Platform, dataset_id: str, name: str, content: bytes) -> None:
    """Uploads a file and enqueues its ingest."""
    upload = uploads.register(platform.catalog, tenant=TENANT, dataset_id=dataset_id, name=name)
    stored = platform.objects.put(paths.upload(dataset_id, new_id()), content)
    _, task_refs = submit_uploads.receive_upload(
        platform.catalog,
        tenant=TENANT,
        upload_id=upload.id,
        object_path=stored.path,
        size=stored.size,
        sha256=stored.sha256,
    )
    platform.enqueue(task_refs)


def new_dataset(platform: Platform, *uploaded: Samples, name: str = "photographs") -> str:
    """A dataset with these uploads; not yet ingested."""
    dataset_id = datasets.create(platform.catalog, tenant=TENANT, name=name).id
    for number, samples in enumerate(uploaded):
        send(platform, dataset_id, f"{number}.tar", tar_of(samples))
    return dataset_id


def small_vocabulary() -> Vocabulary:
    return Vocabulary.from_lines("\n".join(WORDS), name="small")


def begin(
    platform: Platform, dataset_id: str, *, vocabulary: Vocabulary | None = None, **changes: Any
) -> CurationRecord:
    """Creates the curation of a dataset with the only encoder; by default with the small vocabulary."""
    encoder = platform.encoders.describe()
    record, _ = platform.vocabularies.add(
        tenant=TENANT, vocabulary=vocabulary or small_vocabulary(), source="uploaded"
    )
    parameters = CurationParameters(**({"neighbours": 4} | changes))
    created = submit.create_curation(
        platform.catalog,
        tenant=TENANT,
        dataset_id=dataset_id,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        vocabulary_id=record.id,
        vocabulary_hash=record.hash,
        parameters=asdict(parameters),
        parameters_hash=parameters.hash,
    )
    platform.enqueue(created.tasks)
    return created.curation


def drain(platform: Platform) -> None:
    """Run every task in this thread, until no task is left."""
    queue: list[tuple[str, str]] = []
    platform.send_with(queue.extend)
    tasks.release_all(platform.catalog)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        queue += tasks.sweep(platform.catalog)
        while queue:
            run_task(platform, queue.pop(0)[0], stopping=threading.Event())
        if not tasks.unfinished(platform.catalog):
            return
        time.sleep(0.01)
    raise AssertionError("the platform did not finish its work")


def ingested(platform: Platform, count: int = 8) -> str:
    """A dataset with that many samples in two shards; its id."""
    dataset_id = new_dataset(platform, some_samples(count // 2), some_samples(count // 2, first=count // 2))
    drain(platform)
    return dataset_id


def files_of(platform: Platform) -> dict[str, bytes]:
    """Every object by its path."""
    return {path: platform.objects.get(path) for path in platform.objects.list()}


def collected(platform: Platform) -> list[TaskRef]:
    """Return a list that gets all tasks that are sent to workers from now on."""
    queue: list[TaskRef] = []
    platform.send_with(queue.extend)
    return queue


def run_now(platform: Platform, task_id: str) -> None:
    """Run a task as a worker does when it gets the message."""
    run_task(platform, task_id, stopping=threading.Event())


def wait_for(platform: Platform, curation_id: str) -> CurationRecord:
    """Waits until workers have ended a curation."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        record = curations.get(platform.catalog, tenant=TENANT, curation_id=curation_id)
        if record.state not in ACTIVE_CURATIONS:
            return record
        time.sleep(0.02)
    raise AssertionError(f"the curation is still {record.state} in stage {record.stage}")


def wait_for_ingest(platform: Platform, dataset_id: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while datasets.get(platform.catalog, tenant=TENANT, dataset_id=dataset_id).ingesting:
        assert time.monotonic() < deadline, "the uploads are still being ingested"
        time.sleep(0.02)


def state_of(platform: Platform, curation: CurationRecord) -> CurationRecord:
    return curations.get(platform.catalog, tenant=TENANT, curation_id=curation.id)


def archives_of(platform: Platform, curation: CurationRecord) -> dict[str, dict[str, Any]]:
    """Return every archive by key, as stored in the tables."""
    archives: dict[str, dict[str, Any]] = {}
    for shard in curations.shards(platform.catalog, curation_id=curation.id):
        if shard.content_hash is not None:
            table = tables.read_table(platform.objects, paths.archives(curation.id, shard.shard_id))
            archives |= {row["key"]: row for row in table.to_pylist()}
    return archives


def concepts_in(row: Mapping[str, Any]) -> list[str]:
    return [concept["concept"] for concept in row["concepts"]]


def keys_of(groups: Iterable[Sequence[str]]) -> set[str]:
    return {key for group in groups for key in group}


def dumped(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
