"""Two ranks under torchrun: the same run as one process with the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from cocu_training.loop.checkpoints import Checkpoints
from cocu_training.loop.records import RECORDS, read_lines

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.distributed.is_available(), reason="no gloo")]


def run(repository: Path, folder: Path, *, ranks: int, stop: bool = False) -> str:
    launcher = [
        *("-m", "torch.distributed.run", "--nproc-per-node", str(ranks)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost"),
    ]
    script = str(repository / "tests" / "training" / "loop" / "rank_process.py")
    outcome = subprocess.run(
        [sys.executable, *launcher, script, str(folder), *(["stop"] if stop else [])],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
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
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 6
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, rel=1e-4)
    means = "image_projector.1.running_mean"
    torch.testing.assert_close(
        weights(tmp_path / "two")[means], weights(tmp_path / "one")[means], rtol=1e-3, atol=1e-4
    )
    # One rank alone is told to stop; both do, at the same step, and go on together.
    stopped = run(repository, tmp_path / "parts", ranks=2, stop=True)
    steps = {line.rpartition("ended at ")[2] for line in stopped.splitlines() if "ended at" in line}
    assert len(steps) == 1
    assert steps <= {"3, False", "4, False"}
    run(repository, tmp_path / "parts", ranks=2)
    assert losses(tmp_path / "parts") == two
    ended = weights(tmp_path / "parts")
    assert all(torch.equal(tensor, ended[name]) for name, tensor in weights(tmp_path / "two").items())
