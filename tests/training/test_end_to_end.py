"""From an upload to figures: scenes are curated, trained on over HTTP, killed, resumed, evaluated."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from PIL import Image
from tests.local_platform import running
from torch.nn import functional

from cocu.client import CocuClient
from cocu_training.data.texts import Texts
from cocu_training.loop.checkpoints import Checkpoints, last_checkpoint, load_model, read_checkpoint
from cocu_training.loop.records import RECORDS, read_lines
from cocu_training.model import GroupViT

pytestmark = pytest.mark.slow

STEPS = 32
SETTINGS = {"steps": STEPS, "global_batch": 20, "checkpoint_interval": 4, "average_decay": 0.99}
BATCHES = 14
"""Of 280 scenes in an epoch, so that the third is under way at the end."""

GROUNDS = 11
"""Classes that are no objects; they are the first."""

UNCOUNTED = 255
MASK = ".mask.png"
Scene = tuple[Image.Image, NDArray[np.uint8]]


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
    reached = int(re.sub(r"\D", "", before[-1].stem))
    assert reached < STEPS
    assert reached % BATCHES != 0, "it should go on in mid-epoch"

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
    names, scenes = scenes_of(examples, images=12)
    agree(served, tmp_path / "killed", examples, names, scenes, "--pictures", "12")
    # So few steps teach no object, but what fills half of an image is met: the same masks without the rest.
    grounds = {key: (image, without_objects(mask_HW)) for key, (image, mask_HW) in scenes.items()}
    write_folder(tmp_path / "grounds", names[:GROUNDS], grounds)
    assert agree(served, tmp_path / "killed", tmp_path / "grounds", names[:GROUNDS], grounds) > 0.01


def agree(
    served: Served, run: Path, dataset: Path, names: list[str], scenes: dict[str, Scene], *more: str
) -> float:
    """Evaluate by the command line: it prints and writes the mIoU by its definition, which is returned."""
    shown = subprocess.run(
        [
            *(sys.executable, "-m", "cocu_training.command_line", "evaluate", str(run), "--device", "cpu"),
            *("--protocol", "scenes", "--dataset", str(dataset), "--output", str(run / "evaluated"), *more),
        ],
        cwd=served.repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    printed = re.search(r"mIoU +([\d.]+) %", shown.stdout)
    assert printed is not None, shown.stdout
    document = json.loads((run / "evaluated" / "evaluation.json").read_text())
    assert (document["pictures"], len(document["classes"])) == (len(scenes), len(names))
    expected = mean_iou_of(last_checkpoint(run), names, scenes)
    # Another order of sums may move a pixel on a border.
    assert document["mean_iou"] == pytest.approx(expected, abs=1e-4)
    assert float(printed[1]) == pytest.approx(100 * expected, abs=0.02)
    return expected


@torch.no_grad()
def mean_iou_of(checkpoint: Path, names: list[str], scenes: dict[str, Scene]) -> float:
    """By its definition, from the masks and what the network says of each image."""
    model, configuration = load_model(checkpoint)
    texts = Texts(configuration.tokenizer, configuration.context_length)
    classes_CE = model.embed_texts(texts([f"a photo of a {name}." for name in names]))
    both_C, either_C = np.zeros(len(names)), np.zeros(len(names))
    for image, mask_HW in scenes.values():
        said_HW = segmented_by(model, image, classes_CE)
        for label in range(len(names)):
            true_HW, here_HW = mask_HW == label, (said_HW == label) & (mask_HW != UNCOUNTED)
            both_C[label] += (true_HW & here_HW).sum()
            either_C[label] += (true_HW | here_HW).sum()
    return float((both_C[either_C > 0] / either_C[either_C > 0]).mean())


def scenes_of(examples: Path, *, images: int) -> tuple[list[str], dict[str, Scene]]:
    """Names of the classes, and so many scenes spread over the shards, by key."""
    files: dict[str, bytes] = {}
    for shard in examples.glob("*.tar"):
        with tarfile.open(shard) as tar:
            files |= {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    keys = sorted(name.removesuffix(MASK) for name in files if name.endswith(MASK))
    chosen = [keys[number] for number in np.linspace(0, len(keys) - 1, images).round().astype(int)]
    scenes = {
        key: (
            Image.open(io.BytesIO(files[f"{key}.jpg"])).convert("RGB"),
            np.asarray(Image.open(io.BytesIO(files[key + MASK]))),
        )
        for key in chosen
    }
    return json.loads((examples / "labels.json").read_text())["labels"], scenes


def without_objects(mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(mask_HW < GROUNDS, mask_HW, UNCOUNTED).astype(np.uint8)


def write_folder(folder: Path, names: list[str], scenes: dict[str, Scene]) -> None:
    for each in ("pictures", "masks"):
        (folder / each).mkdir(parents=True)
    for key, (image, mask_HW) in scenes.items():
        image.save(folder / "pictures" / f"{key}.png")
        Image.fromarray(mask_HW).save(folder / "masks" / f"{key}.png")
    (folder / "classes.json").write_text(json.dumps({"names": names}))


def segmented_by(model: GroupViT, image: Image.Image, classes_CE: torch.Tensor) -> NDArray[np.int64]:
    """The class of each pixel of an image that is one window of 128 pixels."""
    pixels_HW3 = torch.from_numpy(np.array(image)).float()
    pixels_13HW = functional.interpolate(pixels_HW3.permute(2, 0, 1)[None], (128, 128), mode="bilinear")
    mean_3, deviation_3 = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    groups = model.groups((pixels_13HW.round() / 255 - mean_3[:, None, None]) / deviation_3[:, None, None])
    logits_GC = model.caption_scale * groups.segments_BGE[0] @ classes_CE.T
    likely_T = (groups.pooled_BE[0] @ classes_CE.T).topk(5).indices
    scores_GC = torch.zeros_like(logits_GC)
    scores_GC[:, likely_T] = logits_GC.softmax(dim=1)[:, likely_T] * logits_GC[:, likely_T].softmax(dim=1)
    soft_1GHW = groups.assignment_BPG.transpose(1, 2).unflatten(2, groups.grid)
    group_HW = functional.interpolate(soft_1GHW, (128, 128), mode="bilinear")[0].argmax(dim=0)
    scores_1CHW = scores_GC.T[:, group_HW][None]
    return functional.interpolate(scores_1CHW, image.size[::-1], mode="bilinear")[0].argmax(dim=0).numpy()


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
