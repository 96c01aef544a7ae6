"""Two ranks under torchrun: the same run as one process with the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from cocu_training.error_file import ERROR_FILE
from cocu_training.loop.checkpoints import Checkpoints
from cocu_training.loop.records import RECORDS, read_lines

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.distributed.is_available(), reason="no gloo")]


def start(repository: Path, folder: Path, *words: str, ranks: int) -> subprocess.CompletedProcess[str]:
    launcher = [
        *("-m", "torch.distributed.run", "--nproc-per-node", str(ranks)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost"),
    ]
    script = str(repository / "tests" / "training" / "loop" / "rank_process.py")
    return subprocess.run(
        [sys.executable, *launcher, script, str(folder), *words],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def run(repository: Path, folder: Path, *words: str, ranks: int) -> str:
    outcome = start(repository, folder, *words, ranks=ranks)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def losses(folder: Path) -> list[tuple[float, ...]]:
    names = ("loss", "caption_loss", "concept_loss", "collision_rate", "gradient_norm")
    lines = (line for line in read_lines(folder / RECORDS) if line["kind"] == "step")
    return [tuple(line[name] for name in names) for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = Checkpoints(folder / "checkpoints").latest()
    assert state is not None
    assert state["step"] == 6
    return state["model"]


def test_two_ranks_compute_what_one_does_and_stop_together(repository: Path, tmp_path: Path) -> None:
    run(repository, tmp_path / "one", ranks=1)
    assert "ended at 6, True" in run(repository, tmp_path / "two", ranks=2)
    single, double = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(single) == len(double) == 6
    for alone, together in zip(single, double, strict=True):
        assert together == pytest.approx(alone, rel=1e-4)
    means = "image_projector.1.running_mean"
    torch.testing.assert_close(
        weights(tmp_path / "two")[means], weights(tmp_path / "one")[means], rtol=1e-3, atol=1e-4
    )
    # One rank alone is told to stop; both do, at the same step, and go on together.
    stopped = run(repository, tmp_path / "parts", "stop", ranks=2)
    steps = {line.rpartition("ended at ")[2] for line in stopped.splitlines() if "ended at" in line}
    assert len(steps) == 1
    assert steps <= {"3, False", "4, False"}
    run(repository, tmp_path / "parts", ranks=2)
    assert losses(tmp_path / "parts") == double
    ended = weights(tmp_path / "parts")
    assert all(torch.equal(tensor, ended[name]) for name, tensor in weights(tmp_path / "two").items())


def test_a_rank_that_fails__says_why_and_not_that_the_other_lost_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "1.error"
    monkeypatch.setenv(ERROR_FILE, str(file))
    outcome = start(repository, tmp_path / "run", "fail", ranks=2)
    assert outcome.returncode == 1
    assert file.read_text() == "batch 2 is damaged"
