"""A run of more shards than its process may open files: systems allow 256 or 1,024 unless told otherwise."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.local_platform import tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

SHARDS = 100
LIMIT = 88


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_more_shards_than_open_files_are_curated(tmp_path: Path) -> None:
    encoder = write_tiny_encoder(tmp_path / "encoder")
    things = ["dog", "cat", "bench", "tree", "car"]
    captions = {f"{row:05d}": f"a photo of a {things[row % 5]}" for row in range(SHARDS)}
    (tmp_path / "many.tar").write_bytes(tar_of_samples(captions))
    (tmp_path / "things.txt").write_text("\n".join(things))
    command = [sys.executable, "-m", "cocu", "curate", str(tmp_path / "many.tar"), "--json"]
    command += ["--data", str(tmp_path / "data"), "--encoder", str(encoder)]
    command += ["--vocabulary", str(tmp_path / "things.txt")]
    ended = subprocess.run(
        command,
        env={**os.environ, "COCU_SAMPLES_PER_SHARD": "1"},
        # The soft limit alone: a process may raise it as far as the hard one, and this one may not.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT)),
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["curation"]["state"] == "completed"
    assert document["curation"]["statistics"]["samples"] == SHARDS
