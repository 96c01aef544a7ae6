"""Curate the shipped scenes on a platform, and again in this process: `curate.py URL`; both must agree.

It runs in the platform's own image, so that the same libraries did both.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cocu.cli.demo import is_better
from cocu.cli.local import local_client
from cocu.client import ClientError, CocuClient, read_labels

SCENES = Path("/scenes")
ENCODER = Path("/opt/cocu/share/encoders/scenes")
PATIENCE = 600.0


def main(url: str) -> None:
    """Raises SystemExit, saying what was different, unless the platform's run equals the embedded one."""
    with CocuClient(url) as client:
        until(lambda: next(client.encoders.list(), None), what="an encoder")
        composed = curate(client)
    print(f"composed: content hash {composed}", flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        local_client(encoder=ENCODER, data=Path(folder)) as client,
    ):
        embedded = curate(client)
    print(f"embedded: content hash {embedded}", flush=True)
    if composed != embedded:
        sys.exit("the composed platform and the embedded one made different archives")


def curate(client: CocuClient) -> str:
    """The content hash of a curation of the scenes, which must be completed and better than the captions."""
    started = time.monotonic()
    dataset = client.datasets.create("scenes")
    client.datasets.upload(dataset.id, SCENES)
    dataset = client.datasets.wait(dataset.id, timeout=PATIENCE)
    curation = client.curations.create(dataset.id)
    curation = client.curations.wait(curation.id, timeout=PATIENCE)
    if curation.state != "completed":
        sys.exit(f"the curation ended as {curation.state}: {curation}")
    labels = read_labels(SCENES / "labels.json")
    if not is_better(client.evaluations.create(curation.id, labels=labels)):
        sys.exit("the archives are not better than the captions")
    print(f"{dataset.samples:,} samples, {time.monotonic() - started:.0f} s", flush=True)
    assert curation.content_hash is not None
    return curation.content_hash


def until(found: Callable[[], object], *, what: str) -> None:
    """Wait until there is something; the platform may be starting."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if found():
                return
            seen = "none yet"
        except ClientError as error:
            seen = str(error)
        if time.monotonic() > deadline:
            sys.exit(f"waited {PATIENCE:.0f} s for {what}: {seen}")
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1])
