"""One run from the platform to its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.stream import Stream
from cocu_training.data.texts import Texts
from cocu_training.errors import CheckpointError, ConfigurationError
from cocu_training.gathering import world
from cocu_training.loop.checkpoints import CHECKPOINTS, Checkpoints
from cocu_training.loop.distributed import ranks
from cocu_training.loop.evaluating import Evaluating
from cocu_training.loop.trainer import Outcome, Trainer

RUN = "run.json"


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a run is evaluated on: a protocol, a folder in its layout, and how many pictures of it."""

    protocol: str
    dataset: Path
    pictures: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """Which curation of which platform is trained on how, and where the results go.

    folder: gets run.json, records.jsonl, tensorboard/ and checkpoints/. resume: go on from the last
    checkpoint there, if any; without it a folder that has some is refused. device: auto, cpu or cuda.
    evaluated: every `evaluation_interval` steps and at the end.
    """

    configuration: TrainingConfiguration
    server: str
    curation: str
    folder: Path
    api_key: str | None = field(default=None, repr=False)
    resume: bool = False
    device: str = "auto"
    evaluated: Evaluated | None = None


def train(run: Run) -> Outcome:
    """Train; as a rank of several where torchrun started this process.

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
            return _trained(run, stream, texts, device)


def _trained(run: Run, stream: Stream, texts: Texts, device: torch.device) -> Outcome:
    if not run.resume and Checkpoints(run.folder / CHECKPOINTS).all():
        raise CheckpointError(f"{run.folder} has checkpoints already: resume, or take another folder")
    trainer = Trainer(
        run.configuration,
        source=stream,
        text_tokens=texts.tokens,
        folder=run.folder,
        device=device,
        identity=stream.content_hash,
        evaluate=_evaluating(run, texts),
    )
    if run.resume:
        trainer.resume()
    if world()[0] == 0:
        _describe(run, stream, steps=trainer.steps)
    return trainer.run()


def _evaluating(run: Run, texts: Texts) -> Evaluating | None:
    if run.evaluated is None or world()[0] != 0:
        return None
    return Evaluating(
        protocol=run.evaluated.protocol,
        dataset=run.evaluated.dataset,
        pictures=run.evaluated.pictures,
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
    """Say in the folder what it has."""
    run.folder.mkdir(parents=True, exist_ok=True)
    described = {
        "server": run.server,
        "curation": run.curation,
        "content_hash": stream.content_hash,
        "batches_per_epoch": stream.batches_per_epoch,
        "steps": steps,
        "configuration": json.loads(run.configuration.to_json()),
    }
    (run.folder / RUN).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
