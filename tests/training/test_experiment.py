"""The training experiment from scenes to tables, interrupted and taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from cocu_training.loop.records import RECORDS, read_lines

pytestmark = pytest.mark.slow

ARMS = ("caption_nouns", "oracle")
STEPS = (2, 4)


def experiment(repository: Path, folder: Path, *more: str, seeds: int = 2) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.training_experiment", "--smoke", "--folder", str(folder)]
    command += ["--arms", ",".join(ARMS), "--seeds", str(seeds), "--device", "cpu", "--workers", "0", *more]
    return subprocess.Popen(
        command,
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / "results.jsonl")


def test_an_experiment_is_interrupted_taken_up_and_told_in_tables(repository: Path, tmp_path: Path) -> None:
    stopped = experiment(repository, tmp_path)
    while stopped.poll() is None and not lines(tmp_path):
        time.sleep(0.02)
    stopped.send_signal(signal.SIGTERM)
    output, errors = stopped.communicate(timeout=120)
    assert stopped.returncode in {1, 75}, output + errors
    assert "the same command goes on" in output + errors
    assert "Traceback" not in errors
    before = lines(tmp_path)
    assert 0 < len(before) < len(ARMS) * 2 * len(STEPS)

    # With a process that decodes, which must not keep the experiment from ending.
    again = experiment(repository, tmp_path, "--workers", "1")
    output, errors = again.communicate(timeout=240)
    assert again.returncode == 0, output + errors
    assert lines(tmp_path)[: len(before)] == before
    found = [(line["arm"], line["seed"], line["step"]) for line in lines(tmp_path)]
    assert sorted(found) == sorted((arm, seed, step) for arm in ARMS for seed in range(2) for step in STEPS)
    assert all(0 <= line["mean_iou"] <= 1 for line in lines(tmp_path))
    for arm in ARMS:
        assert f"| {arm} | 2 |" in output
    assert "| oracle − caption_nouns |" in output
    reported = json.loads(output.splitlines()[-1])
    assert reported["benchmark"] == "training experiment"
    assert reported["holds"] == (reported["value"] > 0)
    assert (tmp_path / "convergence.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "table.md").read_text() in output
    # The table of what is true is one of the same keys: concepts are drawn, not captions in their place.
    records = read_lines(tmp_path / "runs" / "oracle-0" / RECORDS)
    assert any(record.get("collision_rate", 0) > 0 for record in records)

    # Nothing is left to do, and nothing is done again.
    done = lines(tmp_path)
    repeated = experiment(repository, tmp_path)
    output, errors = repeated.communicate(timeout=120)
    assert repeated.returncode == 0, output + errors
    assert lines(tmp_path) == done
    assert json.loads(output.splitlines()[-1]) == reported

    # A folder is for one size.
    other = experiment(repository, tmp_path, "--steps", "6")
    output, errors = other.communicate(timeout=120)
    assert other.returncode == 1
    assert "other steps" in errors
    assert lines(tmp_path) == done
