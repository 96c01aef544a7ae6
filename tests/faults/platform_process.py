"""A process that curates a few uploads and tells the result: what the fault tests kill.

    python -m tests.faults.platform_process DATA ENCODERS

Whatever an earlier process of the same data folder has got done, this one carries on from there. It prints
"ready" when its workers run and the outcome, as JSON, at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.workers.driving import (
    TENANT,
    Samples,
    archives_of,
    begin,
    picture,
    send,
    settings,
    some_samples,
    tar_of,
    wait_for,
    wait_for_ingest,
)

from cocu.platform import Platform
from cocu.storage.catalog import curations, datasets, rejections, samples, uploads
from cocu.workers.embedded import EmbeddedWorkers

UPLOADS = 4
SAMPLES = 60


def upload(number: int) -> Samples:
    """An upload whose first sample has a key of every other upload, and whose last is no image."""
    own = some_samples(SAMPLES, first=number * SAMPLES)
    return {"shared": (picture(number), "a dog")} | own | {f"bad{number}": (b"no image", "a cat")}


def carry_on(platform: Platform) -> dict[str, object]:
    """Does whatever is left to do, and returns what there is in the end."""
    found = datasets.find_by_name(platform.catalog, tenant=TENANT, name="set")
    dataset = found or datasets.create(platform.catalog, tenant=TENANT, name="set")
    names = [f"{number}.tar" for number in range(UPLOADS)]
    for number, name in enumerate(names):
        send(platform, dataset.id, name, tar_of(upload(number)))
    wait_for_ingest(platform, dataset.id)
    curation = wait_for(platform, begin(platform, dataset.id).id)
    report = rejections.report(platform.catalog, tenant=TENANT, dataset_id=dataset.id)
    listed = uploads.list_page(platform.catalog, tenant=TENANT, dataset_id=dataset.id, limit=99)
    shards = {one.id for one in samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset.id)}
    return {
        "state": curation.state,
        "content_hash": curation.content_hash,
        "snapshot_hash": curation.snapshot_hash,
        "statistics": curation.statistics,
        "archives": len(archives_of(platform, curation)),
        "curations": len(curations.list_page(platform.catalog, tenant=TENANT, limit=9).items),
        "uploads": [(one.name, one.state, one.accepted) for one in listed.items],
        "skipped": report.skipped,
        "indexed": platform.vectors.count(encoder=curation.encoder_hash, tenant=TENANT, dataset=dataset.id),
        "objects": sorted(
            path.replace(dataset.id, "DATASET").replace(curation.id, "CURATION")
            for path in platform.objects.list()
            if not _left_behind(path, shards)
        ),
    }


def _left_behind(path: str, shards: set[str]) -> bool:
    """Whether nothing names this object: a file that was sent in again, or a shard of another attempt.

    Both wait for the dataset to be deleted.
    """
    folder, _, name = path.rpartition("/")
    if folder.endswith("/uploads"):
        return True
    return folder.endswith(("/shards", "/samples")) and name.rpartition(".")[0] not in shards


def main() -> None:
    data, encoders = (Path(argument) for argument in sys.argv[1:])
    made = settings(data, encoders, samples_per_shard=25)
    with Platform.open(made) as platform, EmbeddedWorkers(platform):
        print("ready", flush=True)
        print(json.dumps(carry_on(platform)), flush=True)


if __name__ == "__main__":
    main()
