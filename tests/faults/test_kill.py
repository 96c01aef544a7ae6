"""kill -9 at any moment: the run ends with the same content, nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.faults.fault_counts import KILLS
from tests.pipeline.tiny_encoder import write_tiny_encoder

SEED = int(os.environ.get("COCU_TEST_KILL_SEED", "1"))


def start(data: Path, encoders: Path, repository: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.faults.platform_process", str(data), str(encoders)],
        cwd=repository,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def outcome_of(process: subprocess.Popen[str]) -> dict[str, object]:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    outcome: dict[str, object] = json.loads(output)
    return outcome


@pytest.mark.timeout(300 + 20 * KILLS)
def test_killing_the_process_again_and_again_changes_nothing(tmp_path: Path, repository: Path) -> None:
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    undisturbed = start(tmp_path / "undisturbed", tmp_path / "encoders", repository)
    began = time.monotonic()
    expected = outcome_of(undisturbed)
    took = time.monotonic() - began
    assert expected["state"] == "completed"

    moments = random.Random(SEED)
    killed = 0
    for _ in range(KILLS):
        process = start(tmp_path / "killed", tmp_path / "encoders", repository)
        # Short enough that the work outlasts the kills, however often it is begun anew.
        time.sleep(moments.uniform(0, took / max(5, KILLS)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    outcome = outcome_of(start(tmp_path / "killed", tmp_path / "encoders", repository))

    assert killed == KILLS
    assert outcome == expected
