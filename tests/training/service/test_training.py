"""The trainer itself under the service: torchrun, ranks, batches over HTTP, and its files as results."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from PIL import Image
from tests.training.evaluation.layout_writers import write_folder
from tests.training.service.conftest import Platform, Training, settings_of, training_on
from tests.training.service.test_survival import ServiceProcess

from cocu_training.evaluation import evaluate, find_protocol, open_dataset
from cocu_training.loop.checkpoints import load_model
from cocu_training.service.processes import find_marked

pytestmark = pytest.mark.slow

STEPS = 60
SHORT = {"global_batch": 20, "checkpoint_interval": 3}


def submit(training: Training, **configuration: object) -> str:
    answer = training.http.post("/v1/runs", json=training.body(**{**SHORT, **configuration}))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def real_training_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "service"


def test_stopped_run__has_a_checkpoint_of_its_last_step_and_goes_on(
    real_training_folder: Path, platform: Platform, repository: Path
) -> None:
    settings = settings_of(
        real_training_folder, platform, repository, command=None, stop_seconds=120.0, devices=2
    )
    with training_on(platform, settings) as training:
        run = submit(training, steps=100_000, workers=1, checkpoint_interval=1_000_000)
        training.wait(run, lambda seen: seen["step"] >= 2 or seen["state"] == "failed")
        training.http.post(f"/v1/runs/{run}/stop")
        stopped = training.wait(run)
        assert stopped["state"] == "stopped", stopped["detail"]
        assert find_marked(f"{run}.1") == []
        names = {file["name"] for file in training.http.get(f"/v1/runs/{run}/files").json()["items"]}
        assert f"checkpoints/step-{stopped['step']:09d}.pt" in names
        training.http.post(f"/v1/runs/{run}/resume")
        training.wait(run, lambda seen: seen["step"] > stopped["step"] or seen["state"] == "failed")
        training.http.post(f"/v1/runs/{run}/stop")
        assert training.wait(run)["state"] == "stopped"
        steps = [event["values"]["step"] for event in recorded(training, run)]
        assert steps == list(range(1, len(steps) + 1))


def test_killed_service_and_trainer__end_with_the_weights_of_an_undisturbed_run(
    real_training_folder: Path, platform: Platform, repository: Path
) -> None:
    service = ServiceProcess(real_training_folder, platform, repository, trainer=None)
    settings = {"steps": STEPS, "checkpoint_interval": 7, "workers": 0, "average_decay": 0.9}
    try:
        training = service.start()
        undisturbed, killed = submit(training, **settings), submit(training, **settings)
        assert training.wait(undisturbed)["state"] == "completed"
        training.wait(killed, lambda seen: seen["step"] >= 10)
        service.kill()
        trainers = find_marked(f"{killed}.1")
        assert len(trainers) >= 3, "the supervisor, torchrun and a rank go on without the service"
        for pid in trainers:
            os.kill(pid, signal.SIGKILL)
        training = service.start()
        seen = training.wait(killed)
        assert (seen["state"], seen["step"], seen["starts"]) == ("completed", STEPS, 2), seen["detail"]
        expected, actual = (checkpoint_of(training, run) for run in (undisturbed, killed))
        for part in ("model", "average"):
            first, second = (state[part].get("weights", state[part]) for state in (expected, actual))
            assert first.keys() == second.keys()
            assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    finally:
        service.close()


def test_run__is_trained_by_torchrun_and_evaluated(
    real_training_folder: Path, platform: Platform, repository: Path, tmp_path: Path
) -> None:
    images = tmp_path / "own"
    names = ["background", "dog", "cat", "red car"]
    write_folder(images, names=names)
    settings = settings_of(
        real_training_folder, platform, repository, command=None, evaluate=f"folder={images}"
    )
    with training_on(platform, settings) as training:
        run = submit(training, steps=4, evaluation_interval=2)
        seen = training.wait(run)
        assert (seen["state"], seen["step"], seen["steps"]) == ("completed", 4, 4), seen["detail"]
        results = training.http.get(f"/v1/runs/{run}/results").json()
        assert results["latest"]["loss"] > 0
        assert [evaluation["step"] for evaluation in results["evaluations"]] == [2, 4]
        files = {file["name"]: file for file in results["files"]}
        kinds = {name: file["kind"] for name, file in files.items()}
        previews = {Path(name).stem: name for name, kind in kinds.items() if kind == "preview"}
        assert previews.keys() == {"first", "second", "third"}
        assert kinds["evaluations/folder/evaluation.json"] == "evaluation"
        document = training.http.get(files["evaluations/folder/evaluation.json"]["url"]).json()
        assert document["mean_iou"] == pytest.approx(results["evaluations"][-1]["mean_iou"])
        assert [label["name"].strip() for label in document["classes"]] == names

        # The same from the checkpoint that the service sends.
        fetched = tmp_path / "fetched.pt"
        fetched.write_bytes(training.http.get(f"/v1/runs/{run}/files/checkpoints/step-000000004.pt").content)
        model, configuration = load_model(fetched)
        own = evaluate(
            model,
            configuration.tokenizer,
            open_dataset("folder", images),
            find_protocol("folder"),
            previews=3,
        )
        assert 0 < own.mean_iou < 1
        assert document["mean_iou"] == pytest.approx(own.mean_iou, abs=1e-3)
        for preview in own.previews:
            answer = training.http.get(files[previews[preview.key]]["url"])
            assert answer.headers["content-type"] == "image/png"
            drawn = Image.open(io.BytesIO(answer.content))
            # Image, labels, prediction and groups; another order of sums may move a pixel on a border.
            assert drawn.size == preview.image.size
            differences = np.abs(np.asarray(drawn, float) - np.asarray(preview.image, float))
            assert differences.mean() < 1
            assert len(np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize("devices", [1, 2])
def test_impossible_run__fails_with_what_the_trainer_says(
    real_training_folder: Path, platform: Platform, repository: Path, devices: int
) -> None:
    settings = settings_of(real_training_folder, platform, repository, command=None, devices=devices)
    with training_on(platform, settings) as training:
        answer = training.http.post("/v1/runs", json=training.body(steps=4, global_batch=4096))
        failed = training.wait(answer.json()["id"])
        assert failed["state"] == "failed"
        said = f"curation {training.curation} has 40 samples, fewer than one batch of 4096"
        assert failed["detail"].splitlines()[0] == said
        assert "torch" not in failed["detail"], "nothing of torchrun's own"


def checkpoint_of(training: Training, run: str) -> dict[str, Any]:
    """The last checkpoint, as it is fetched."""
    files = training.http.get(f"/v1/runs/{run}/results").json()["files"]
    last = next(file for file in files[::-1] if file["kind"] == "checkpoint")
    content = training.http.get(last["url"]).content
    return dict(torch.load(io.BytesIO(content), weights_only=True))


def recorded(training: Training, run: str) -> list[dict[str, dict[str, int]]]:
    with training.http.stream("GET", f"/v1/runs/{run}/events", timeout=60) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    return [event for event in events if event["kind"] == "step"]
