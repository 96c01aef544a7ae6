"""`cocu export`: the files and the words for people and programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.exports.conftest import SAMPLES, Curated


def cocu(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cocu", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_command__writes_the_files_and_says_so(curated: Curated, tmp_path: Path) -> None:
    server = ("--server", curated.server.url)
    outcome = cocu(curated.curation.id, str(tmp_path), "--format", "jsonl", *server)
    assert outcome.returncode == 0, outcome.stderr
    assert f"{SAMPLES} samples in 4 files" in outcome.stdout
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [f"0000{n}.jsonl" for n in range(4)]
    again = cocu(curated.curation.id, str(tmp_path), "--format", "jsonl", "--json", *server)
    assert json.loads(again.stdout)["content_hash"] == curated.curation.content_hash


def test_command__explains_what_is_wrong_in_a_line(curated: Curated, tmp_path: Path) -> None:
    server = ("--server", curated.server.url)
    outcome = cocu("missing", str(tmp_path), *server)
    assert outcome.returncode == 1
    assert "missing" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert cocu(curated.curation.id, str(tmp_path), "--format", "csv", *server).returncode == 2
