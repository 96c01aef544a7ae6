"""The trainer itself under the service: torchrun, ranks, batches over HTTP, and its files as results."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from tests.training.service.conftest import Platform, Training, settings_of, training_on

from cocu_training.service.processes import marked

pytestmark = pytest.mark.slow

SHORT = {"global_batch": 20, "checkpoint_interval": 3}


def submit(training: Training, **configuration: object) -> str:
    answer = training.http.post("/v1/runs", json=training.body(**{**SHORT, **configuration}))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def real_training_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "service"


def test_run__is_trained_by_torchrun(
    real_training_folder: Path, platform: Platform, repository: Path
) -> None:
    settings = settings_of(real_training_folder, platform, repository, command=None, stop_seconds=120.0)
    with training_on(platform, settings) as training:
        run = submit(training, steps=4)
        seen = training.wait(run)
        assert (seen["state"], seen["step"], seen["steps"]) == ("completed", 4, 4), seen["detail"]
        results = training.http.get(f"/v1/runs/{run}/results").json()
        assert results["latest"]["loss"] > 0
        last = next(file for file in results["files"][::-1] if file["kind"] == "checkpoint")
        state = torch.load(io.BytesIO(training.http.get(last["url"]).content), weights_only=True)
        assert state["step"] == 4
        assert json.loads(state["configuration"])["arm"] == "cluster"


@pytest.mark.parametrize(("devices", "workers"), [(1, 0), (2, 1)])
def test_stopped_run__has_a_checkpoint_of_its_last_step_and_goes_on(
    real_training_folder: Path, platform: Platform, repository: Path, devices: int, workers: int
) -> None:
    settings = settings_of(
        real_training_folder, platform, repository, command=None, stop_seconds=120.0, devices=devices
    )
    with training_on(platform, settings) as training:
        run = submit(training, steps=100_000, workers=workers, checkpoint_interval=1_000_000)
        training.wait(run, lambda seen: seen["step"] >= 2 or seen["state"] == "failed")
        training.http.post(f"/v1/runs/{run}/stop")
        stopped = training.wait(run)
        assert stopped["state"] == "stopped", stopped["detail"]
        assert marked(f"{run}.1") == []
        names = {file["name"] for file in training.http.get(f"/v1/runs/{run}/files").json()["items"]}
        assert f"checkpoints/step-{stopped['step']:09d}.pt" in names
        training.http.post(f"/v1/runs/{run}/resume")
        training.wait(run, lambda seen: seen["step"] > stopped["step"] or seen["state"] == "failed")
        training.http.post(f"/v1/runs/{run}/stop")
        assert training.wait(run)["state"] == "stopped"
        steps = [event["values"]["step"] for event in recorded(training, run)]
        assert steps == list(range(1, len(steps) + 1))


def test_impossible_run__fails_with_what_the_trainer_says(
    real_training_folder: Path, platform: Platform, repository: Path
) -> None:
    settings = settings_of(real_training_folder, platform, repository, command=None)
    with training_on(platform, settings) as training:
        answer = training.http.post("/v1/runs", json=training.body(steps=4, global_batch=4096))
        failed = training.wait(answer.json()["id"])
        assert failed["state"] == "failed"
        assert "fewer than one batch of 4096" in failed["detail"].replace("\n", " ")


def recorded(training: Training, run: str) -> list[dict[str, dict[str, int]]]:
    with training.http.stream("GET", f"/v1/runs/{run}/events", timeout=60) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    return [event for event in events if event["kind"] == "step"]
