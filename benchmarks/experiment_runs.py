"""The runs of the training experiment: what they have in common, one of them, and how long it takes."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.experiment_platform import ENCODER
from benchmarks.experiment_results import Line, Results, at_step
from cocu.schemas.training import ArmName
from cocu_training.configuration import REFERENCE_BATCH, TrainingConfiguration
from cocu_training.data.stream import Stream
from cocu_training.data.texts import Texts
from cocu_training.evaluation import Protocol, SegmentationDataset, evaluate, find_protocol, open_dataset
from cocu_training.loop.trainer import Trainer
from cocu_training.model import GroupViT

PROBED_STEPS, PROBED_IMAGES = 3, 16


@dataclass(frozen=True, kw_only=True)
class Size:
    """What all runs of one experiment have in common.

    scenes: trained on. held_out: evaluated on. learning_rate: at the peak, for this batch. every: steps
    between evaluations, the last of which is at the end.
    """

    scenes: int = 6_000
    held_out: int = 300
    steps: int = 600
    batch: int = 128
    learning_rate: float = 1e-3
    every: int = 100
    model: str = "lean"
    precision: str = "bf16"

    @classmethod
    def smoke(cls) -> Size:
        """Whether all of it works; the figures mean nothing."""
        return cls(scenes=64, held_out=4, steps=4, batch=16, every=2, model="tiny")

    @property
    def evaluations(self) -> int:
        """How many of one run."""
        return -(-self.steps // self.every)

    def claim(self, folder: Path) -> None:
        """Write this into the folder, or find the same there. Raises SystemExit where it has another."""
        file = folder / "size.json"
        if file.exists():
            claimed = json.loads(file.read_text(encoding="utf-8"))
            if claimed != asdict(self):
                different = [name for name, value in asdict(self).items() if claimed.get(name) != value]
                sys.exit(
                    f"{folder} has an experiment with other {', '.join(different)} ({claimed}): take another "
                    "--folder, or the same options"
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment in a folder, on a platform that serves the curation."""

    size: Size
    arms: Sequence[ArmName]
    seeds: Sequence[int]
    folder: Path
    server: str
    curation: str
    device: torch.device
    workers: int = 1

    @property
    def results(self) -> Results:
        """The lines so far."""
        return Results(self.folder / "results.jsonl")

    @property
    def todo(self) -> list[tuple[ArmName, int]]:
        """Runs that are not finished; seed after seed, so that every arm has a figure early."""
        done = at_step(self.results.lines(), self.size.steps)
        return [(arm, seed) for seed in self.seeds for arm in self.arms if seed not in done.get(arm, {})]

    def configuration(self, arm: ArmName, seed: int) -> TrainingConfiguration:
        """That of a run: only arm and seed differ between runs."""
        size = self.size
        peak = size.learning_rate * REFERENCE_BATCH / size.batch
        return TrainingConfiguration.lean().with_(
            model=size.model,
            arm=arm,
            seed=seed,
            oracle=str(self.folder / "scenes" / "labels.json") if arm == "oracle" else None,
            tokenizer=str(ENCODER / "tokenizer.json"),
            steps=size.steps,
            global_batch=size.batch,
            warm_up=0.1,
            learning_rate=peak,
            first_learning_rate=peak / 100,
            last_learning_rate=peak / 100,
            precision=size.precision,
            workers=self.workers,
            log_interval=min(20, size.every),
            # So that what was evaluated is not repeated after an interruption.
            checkpoint_interval=size.every,
            evaluation_interval=size.every,
            kept_checkpoints=1,
        )

    @contextmanager
    def trainer(
        self,
        arm: ArmName,
        seed: int,
        folder: Path,
        *,
        evaluate: Callable[[GroupViT], Mapping[str, float]] | None,
    ) -> Iterator[Trainer]:
        """The loop of a run, its first batch not asked for yet; what decodes for it ends with the context."""
        configuration = self.configuration(arm, seed)
        texts = Texts(configuration.tokenizer, configuration.context_length)
        with Stream(
            configuration,
            server=self.server,
            curation=self.curation,
            api_key=None,
            texts=texts,
            device=self.device,
        ) as stream:
            yield Trainer(
                configuration,
                source=stream,
                text_tokens=texts.tokens,
                folder=folder,
                device=self.device,
                identity=stream.content_hash,
                evaluate=evaluate,
            )


def protocol_of(model: str) -> Protocol:
    """That of scenes, at the size that the model was trained on where that is not near the scenes' own."""
    protocol = find_protocol("scenes")
    side = {"small": 224, "lean": 64}.get(model, protocol.crop)
    return replace(protocol, short_side=side, long_side=side, crop=side, stride=side // 2)


@dataclass(frozen=True)
class HeldOut:
    """Images with masks, and how they are scored."""

    dataset: SegmentationDataset
    protocol: Protocol
    texts: Texts
    device: torch.device
    precision: str

    def __call__(self, model: GroupViT, *, images: int | None = None) -> tuple[float, float]:
        """mIoU and pixel accuracy in 0 … 1."""
        evaluation = evaluate(
            model,
            self.texts,
            self.dataset,
            self.protocol,
            device=self.device,
            precision="bfloat16" if self.precision == "bf16" else "float32",
            images=images,
        )
        return evaluation.mean_iou, evaluation.scores.pixel_accuracy


def attention(device: torch.device) -> AbstractContextManager[None]:
    """On processors by plain products: for so few patches in bf16, faster than what torch chooses."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def held_out_of(experiment: Experiment) -> HeldOut:
    """The scenes of the other seed."""
    configuration = experiment.configuration("caption", 0)
    return HeldOut(
        open_dataset("scenes", experiment.folder / "held-out"),
        protocol_of(experiment.size.model),
        Texts(configuration.tokenizer, configuration.context_length),
        experiment.device,
        experiment.size.precision,
    )


def train_one(experiment: Experiment, arm: ArmName, seed: int, held_out: HeldOut) -> bool:
    """One run from where it is to its end, its evaluations written as they come; False if told to stop."""
    results, started = experiment.results, time.monotonic()

    def evaluated(model: GroupViT) -> dict[str, float]:
        mean_iou, pixel_accuracy = held_out(model)
        results.add(
            Line(
                arm=arm,
                seed=seed,
                step=trainer.step,
                mean_iou=mean_iou,
                pixel_accuracy=pixel_accuracy,
                seconds=round(time.monotonic() - started, 1),
            )
        )
        return {"mean_iou": mean_iou, "pixel_accuracy": pixel_accuracy}

    folder = experiment.folder / "runs" / f"{arm}-{seed}"
    with experiment.trainer(arm, seed, folder, evaluate=evaluated) as trainer:
        trainer.resume()
        results.go_on(arm, seed, step=trainer.step)
        if is_due(experiment.size, trainer.step) and not is_there(results.lines(), arm, seed, trainer.step):
            # It was killed between the checkpoint and the evaluation.
            evaluated(trainer.model)
        return trainer.run().finished


def is_due(size: Size, step: int) -> bool:
    """Whether there is an evaluation after so many steps."""
    return step > 0 and (step % size.every == 0 or step == size.steps)


def is_there(lines: Sequence[Line], arm: str, seed: int, step: int) -> bool:
    """Whether a run was evaluated after so many steps."""
    return any((line.arm, line.seed, line.step) == (arm, seed, step) for line in lines)


def estimate(experiment: Experiment, held_out: HeldOut) -> None:
    """Print how long it will take, by a few steps of the arm with the most texts and a few images."""
    arm = max(experiment.arms, key=lambda arm: arm != "caption")
    with (
        tempfile.TemporaryDirectory() as name,
        experiment.trainer(arm, 0, Path(name), evaluate=None) as trainer,
    ):
        samples = trainer.source.samples(0, start=0)
        trainer.train_step(next(samples))
        started = time.perf_counter()
        for _ in range(PROBED_STEPS):
            losses, _ = trainer.train_step(next(samples))
            losses.total.item()
        step = (time.perf_counter() - started) / PROBED_STEPS
        images = min(PROBED_IMAGES, experiment.size.held_out)
        held_out(trainer.model, images=images)
        started = time.perf_counter()
        held_out(trainer.model, images=images)
        evaluation = (time.perf_counter() - started) * experiment.size.held_out / images
    size = experiment.size
    run = size.steps * step + size.evaluations * evaluation
    runs = len(experiment.todo)
    print(
        f"{size.batch / step:,.1f} images/s; an evaluation takes about {evaluation:,.1f} s, a run about "
        f"{run / 60:,.1f} min, and the {runs} that are to do {runs * run / 3600:,.2f} h",
        flush=True,
    )
