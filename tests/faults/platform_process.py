"""A process that curates a few uploads and prints the result; the fault tests kill it.

    python -m tests.faults.platform_process DATA ENCODERS

Whatever an earlier process of the same data folder has got done, this one carries on from there. It prints
"ready" when its workers run and the outcome, as JSON, at the end.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.pipeline.indexed_archives import assert_indexed, in_store
from tests.pipeline.pipeline_driver import (
    PATIENCE,
    TENANT,
    Samples,
    archives_of,
    begin,
    noise_png,
    send,
    settings,
    some_samples,
    tar_of,
    wait_for,
    wait_for_ingest,
)

from cocu.catalog import curations, datasets, rejections, samples, tasks, uploads
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.platform import Platform

UPLOADS = 4
SAMPLES = 60


def upload(number: int) -> Samples:
    """An upload whose first sample has a key of every other upload, and whose last is no image."""
    own = some_samples(SAMPLES, first=number * SAMPLES)
    return {"shared": (noise_png(number), "a dog")} | own | {f"bad{number}": (b"no image", "a cat")}


def carry_on(platform: Platform) -> dict[str, object]:
    """Do all remaining work, and return the final content of the platform."""
    existing = datasets.list_page(platform.catalog, tenant=TENANT, limit=1).items
    dataset = existing[0] if existing else datasets.create(platform.catalog, tenant=TENANT, name="set")
    names = [f"{number}.tar" for number in range(UPLOADS)]
    for number, name in enumerate(names):
        send(platform, dataset.id, name, tar_of(upload(number)))
    wait_for_ingest(platform, dataset.id)
    curation = wait_for(platform, begin(platform, dataset.id).id)
    end = time.monotonic() + PATIENCE
    while tasks.unfinished(platform.catalog):
        assert time.monotonic() < end, "the archives are still being put into the vector store"
        time.sleep(0.02)
    assert_indexed(platform, curation)
    report = rejections.report(platform.catalog, tenant=TENANT, dataset_id=dataset.id)
    listed = uploads.list_page(platform.catalog, tenant=TENANT, dataset_id=dataset.id, limit=99)
    shards = {shard.id for shard in samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset.id)}
    return {
        "state": curation.state,
        "content_hash": curation.content_hash,
        "snapshot_hash": curation.snapshot_hash,
        "statistics": curation.statistics,
        "archives": len(archives_of(platform, curation)),
        "curations": len(curations.list_page(platform.catalog, tenant=TENANT, limit=9).items),
        "uploads": [(record.name, record.state, record.accepted) for record in listed.items],
        "skipped": report.skipped,
        "concepts": {name: sorted(keys) for name, keys in in_store(platform, curation).items()},
        "indexed": platform.vectors.count(encoder=curation.encoder_hash, tenant=TENANT, dataset=dataset.id),
        "objects": sorted(
            path.replace(dataset.id, "DATASET").replace(curation.id, "CURATION")
            for path in platform.objects.list()
            if not _left_behind(path, shards)
        ),
    }


def _left_behind(path: str, shards: set[str]) -> bool:
    """Return whether nothing names this object: a file uploaded twice, or a shard of another attempt.

    Garbage collection deletes both after a day.
    """
    folder, _, name = path.rpartition("/")
    if folder.endswith("/uploads"):
        return True
    return folder.endswith(("/shards", "/samples")) and name.rpartition(".")[0] not in shards


def main() -> None:
    data, encoders = (Path(argument) for argument in sys.argv[1:])
    options = settings(data, encoders, samples_per_shard=25)
    with Platform.open(options) as platform, EmbeddedWorkers(platform):
        print("ready", flush=True)
        print(json.dumps(carry_on(platform)), flush=True)


if __name__ == "__main__":
    main()
