"""A training run: from a curation on a platform to a folder of results."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.stream import Stream
from cocu_training.data.texts import Texts
from cocu_training.distributed import world
from cocu_training.errors import CheckpointError, ConfigurationError
from cocu_training.loop.checkpoints import CHECKPOINTS, Checkpoints
from cocu_training.loop.distributed import ranks
from cocu_training.loop.periodic_evaluation import PeriodicEvaluation
from cocu_training.loop.trainer import Outcome, Trainer
from cocu_training.tokenizer_files import keep_tokenizer

RUN = "run.json"


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What to evaluate a run on: a protocol, a folder in its layout, and the number of its images."""

    protocol: str
    dataset: Path
    images: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """Which curation of which platform to train on, how, and where to store the results.

    folder: gets run.json, tokenizer.json, records.jsonl, tensorboard/, checkpoints/. resume: continue from
    the last checkpoint there, if any; without it a folder with checkpoints is refused. device: auto, cpu or
    cuda. evaluated: what to evaluate every `evaluation_interval` steps and at the end.
    """

    configuration: TrainingConfiguration
    server: str
    curation: str
    folder: Path
    api_key: str | None = field(default=None, repr=False)
    resume: bool = False
    device: str = "auto"
    evaluated: EvaluationRequest | None = None


def train(run: Run) -> Outcome:
    """Train, as one of several ranks if torchrun started this process.

    Raises TrainingError and the client's errors.
    """
    with ranks(device=run.device) as device:
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        texts = _texts(run.configuration)
        with Stream(
            run.configuration,
            server=run.server,
            curation=run.curation,
            api_key=run.api_key,
            texts=texts,
            device=device,
        ) as stream:
            return _train(run, stream, texts, device)


def _train(run: Run, stream: Stream, texts: Texts, device: torch.device) -> Outcome:
    if not run.resume and Checkpoints(run.folder / CHECKPOINTS).all():
        raise CheckpointError(f"{run.folder} has checkpoints already: resume, or take another folder")
    trainer = Trainer(
        run.configuration,
        source=stream,
        text_tokens=texts.tokens,
        folder=run.folder,
        device=device,
        identity=stream.content_hash,
        evaluate=_periodic_evaluation(run, texts),
    )
    if run.resume:
        trainer.resume()
    if world()[0] == 0:
        _describe(run, stream, steps=trainer.steps)
    return trainer.run()


def _periodic_evaluation(run: Run, texts: Texts) -> PeriodicEvaluation | None:
    if run.evaluated is None or world()[0] != 0:
        return None
    return PeriodicEvaluation(
        protocol=run.evaluated.protocol,
        dataset=run.evaluated.dataset,
        images=run.evaluated.images,
        texts=texts,
        folder=run.folder,
        precision="bfloat16" if run.configuration.precision == "bf16" else "float32",
    )


def _texts(configuration: TrainingConfiguration) -> Texts:
    try:
        return Texts(configuration.tokenizer, configuration.context_length)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"no tokenizer: {error}") from error


def _describe(run: Run, stream: Stream, *, steps: int) -> None:
    """Write the description of the run into its folder, and keep there what an evaluation needs."""
    run.folder.mkdir(parents=True, exist_ok=True)
    described = {
        "server": run.server,
        "curation": run.curation,
        "content_hash": stream.content_hash,
        "batches_per_epoch": stream.batches_per_epoch,
        "steps": steps,
        "configuration": json.loads(run.configuration.to_json()),
    }
    keep_tokenizer(Path(run.configuration.tokenizer), run.folder)
    (run.folder / RUN).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
