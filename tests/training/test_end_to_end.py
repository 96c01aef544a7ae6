"""From an upload to figures: scenes are curated, trained on over HTTP, killed, resumed, evaluated."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from tests.running import running

from cocu.client import CocuClient
from cocu_training.loop.checkpoints import Checkpoints, last_checkpoint, read_checkpoint
from cocu_training.loop.records import RECORDS, read_lines

pytestmark = pytest.mark.slow

STEPS = 32
SETTINGS = {"steps": STEPS, "global_batch": 20, "checkpoint_interval": 4, "average_decay": 0.99}
"""280 scenes are 14 batches an epoch, so that the third is under way at the end."""


@dataclass(frozen=True)
class Served:
    url: str
    curation: str
    repository: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Served]:
    examples = repository / "examples"
    folder = tmp_path_factory.mktemp("platform")
    with running(folder, examples / "encoders" / "scenes") as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("scenes")
        client.datasets.upload(dataset.id, examples / "scenes" / "scenes-00000.tar")
        client.datasets.wait(dataset.id, timeout=120)
        curation = client.curations.create(dataset.id)
        assert client.curations.wait(curation.id, timeout=240).state == "completed"
        yield Served(server.url, curation.id, repository)


def trainer(served: Served, folder: Path, *more: str, **settings: Any) -> subprocess.Popen[str]:
    given = (f"{name}={json.dumps(value)}" for name, value in {**SETTINGS, **settings}.items())
    options = [option for setting in given for option in ("--set", setting)]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "cocu_training.command_line", "run"),
            *("--server", served.url, "--curation", served.curation, "--output", str(folder)),
            *("--preset", "tiny", "--arm", "cluster", "--device", "cpu", *options, *more),
        ],
        cwd=served.repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str], status: int = 0) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == status, output
    return output


def steps(folder: Path) -> list[dict[str, Any]]:
    return [line for line in read_lines(folder / RECORDS) if line["kind"] == "step"]


def wait_for_step(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    while process.poll() is None and not any(line["step"] >= step for line in steps(folder)):
        time.sleep(0.02)


def test_scenes_are_trained_on_killed_resumed_and_evaluated(served: Served, tmp_path: Path) -> None:
    undisturbed = trainer(served, tmp_path / "undisturbed")
    finished(undisturbed)
    losses = [line["loss"] for line in steps(tmp_path / "undisturbed")]
    assert len(losses) == STEPS
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])
    assert all(line["wait_seconds"] >= 0 for line in steps(tmp_path / "undisturbed"))
    assert any(line["collision_rate"] > 0 for line in steps(tmp_path / "undisturbed"))

    # Killed in the middle of the second epoch, between two checkpoints; with a worker process this time.
    killed = trainer(served, tmp_path / "killed", workers=1)
    wait_for_step(killed, tmp_path / "killed", 18)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, "it ended before it was killed"
    before = Checkpoints(tmp_path / "killed" / "checkpoints").all()
    assert before
    assert int(re.sub(r"\D", "", before[-1].stem)) < STEPS

    # Without --resume what is there is left alone.
    refused = finished(trainer(served, tmp_path / "killed"), status=1)
    assert "has checkpoints already" in refused
    assert "Traceback" not in refused

    finished(trainer(served, tmp_path / "killed", "--resume", workers=1))
    one, other = (read_checkpoint(last_checkpoint(tmp_path / name)) for name in ("undisturbed", "killed"))
    assert one["step"] == other["step"] == STEPS
    for part in ("model", "average"):
        first, second = (state[part].get("weights", state[part]) for state in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert [line["loss"] for line in steps(tmp_path / "killed")] == losses

    examples = served.repository / "examples" / "scenes"
    shown = subprocess.run(
        [
            *(sys.executable, "-m", "cocu_training.command_line", "evaluate", str(tmp_path / "killed")),
            *("--protocol", "scenes", "--dataset", str(examples), "--pictures", "12"),
            *("--output", str(tmp_path / "evaluation"), "--device", "cpu"),
        ],
        cwd=served.repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"mIoU +[\d.]+ %", shown.stdout)
    document = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert 0 <= document["mean_iou"] <= 1
    assert document["pictures"] == 12


def test_told_to_stop_with_its_workers_it_writes_a_checkpoint_and_says_so(
    served: Served, tmp_path: Path
) -> None:
    process = trainer(served, tmp_path, checkpoint_interval=1000, workers=1)
    wait_for_step(process, tmp_path, 3)
    # As torchrun and terminals do: to all of its processes.
    os.killpg(process.pid, signal.SIGTERM)
    finished(process, status=75)
    (file,) = Checkpoints(tmp_path / "checkpoints").all()
    assert 3 <= read_checkpoint(file)["step"] < STEPS
    assert read_lines(tmp_path / RECORDS)[-1]["event"] == "stopped"
