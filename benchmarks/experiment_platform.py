"""What the training experiment trains on: generated scenes, curated on a platform of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cocu_scenes
from cocu.cli import uploads, workflow
from cocu.client import CocuClient

ENCODER = Path(__file__).parent.parent / "examples" / "encoders" / "scenes"
TRAINING_SEED, HELD_OUT_SEED = 20_231, 20_232
"""Of scenes: neither those that the encoder was trained on (0), nor those that it is measured on (1)."""
SCENES_A_SHARD = 5_000


def generate(folder: Path, *, trained: int, held_out: int) -> None:
    """Write the scenes to train on and those held out, where they are not there already."""
    parts = (("scenes", TRAINING_SEED, trained), ("held-out", HELD_OUT_SEED, held_out))
    for name, seed, count in parts:
        # The labels are written last.
        if not (folder / name / "labels.json").exists():
            print(f"generating {count:,} scenes of seed {seed} …", flush=True)
            cocu_scenes.write_scenes(
                folder / name, seed=seed, count=count, shards=-(-count // SCENES_A_SHARD)
            )


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A platform with the scenes' encoder in a process of its own, its data in the folder; its URL."""
    command = [sys.executable, "-m", "cocu", "serve", "--port", "0", "--data", str(folder / "platform")]
    # A session of its own: an interrupt is for the loop, which still needs its batches to stop well.
    with subprocess.Popen(
        [*command, "--encoder", str(ENCODER)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            urls = [word.rstrip(",") for word in words if word.startswith("http")]
            if not urls:
                sys.exit(f"the platform did not start; {folder / 'platform' / 'cocu.log'} says why")
            yield urls[0]
        finally:
            process.terminate()


def curated(url: str, folder: Path, *, trained: int) -> str:
    """The completed curation of the scenes, made at the first time; its id."""
    file = folder / "curation.json"
    if file.exists():
        return str(json.loads(file.read_text(encoding="utf-8"))["curation"])
    with CocuClient(url, timeout=600) as client:
        target, sent = uploads.send(client, folder / "scenes", name="scenes")
        dataset = uploads.wait_until_read(client, target, sent).dataset
        record = workflow.follow(client, client.curations.create(dataset.id))
    if record.samples != trained:
        sys.exit(f"{record.samples} of {trained} scenes were curated")
    described = {"curation": record.id, "content_hash": record.content_hash}
    file.write_text(json.dumps(described) + "\n", encoding="utf-8")
    return record.id
