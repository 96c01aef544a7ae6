"""`cocu batches head`."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.batches.conftest import Curated


def head(curated: Curated, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cocu", "batches", "head", curated.curation.id, *arguments]
    command += ["--server", curated.server.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_head__shows_samples_with_what_is_drawn(curated: Curated) -> None:
    shown = head(curated, "--samples", "4", "--raw", "--concepts", "9")
    assert shown.returncode == 0, shown.stderr
    assert "4 samples, in the order of epoch 0 with seed 0" in shown.stdout
    assert "the caption" in shown.stdout


def test_head__prints_json_for_programs(curated: Curated) -> None:
    lines = head(curated, "--samples", "4", "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 4
    assert all(row["caption"] == curated.captions[row["key"]] for row in rows)
    other = head(curated, "--samples", "4", "--json", "--seed", "1").stdout.splitlines()
    assert other != lines


def test_head__of_what_is_not_there_is_one_readable_line(curated: Curated) -> None:
    refused = head(curated, "--sampler", "best")
    assert refused.returncode == 2
    assert "sampler" in refused.stderr
    assert "is not one of" in refused.stderr
    assert "Traceback" not in refused.stderr
