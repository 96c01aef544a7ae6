"""The loop: samples in, steps, checkpoints and records out.

A step is a function of its number: of the weights and moments before it, the samples at that position of the
epoch, and noise seeded with (seed, step, rank). So a killed run that resumes from its last checkpoint
computes what it would have computed without the kill, bit by bit on one device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.randomness import seed_of
from cocu_training.data.stream import Samples, Source
from cocu_training.distributed import world
from cocu_training.errors import CheckpointError, DataError, NotFiniteError
from cocu_training.loop.batch_norm import sync_batch_norm
from cocu_training.loop.checkpoints import CHECKPOINTS, Checkpoints
from cocu_training.loop.ema import WeightAverage
from cocu_training.loop.meter import Meter
from cocu_training.loop.objective import Losses, Objective
from cocu_training.loop.optimiser import adamw
from cocu_training.loop.records import NoRecords, Records
from cocu_training.loop.schedule import Schedule
from cocu_training.loop.signals import StopSignals
from cocu_training.loop.step_metrics import StepMetrics, Values
from cocu_training.model import GroupViT

Evaluate = Callable[[GroupViT], Mapping[str, float]]
"""Returns metrics by name of a model in evaluation mode."""


class Outcome(NamedTuple):
    """How a run ended: the steps done, and whether these are all steps; otherwise it was told to stop."""

    step: int
    finished: bool


class Trainer:
    """One run on this rank's device.

    source: of the samples. identity: the content hash of the curation, which a resumed run must find
    unchanged. folder: for checkpoints and records. evaluate: called every `evaluation_interval` steps and at
    the end, on the first rank.

    The seed of the configuration determines the initial weights of the model.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        *,
        source: Source,
        text_tokens: int,
        folder: Path,
        device: torch.device,
        identity: str = "",
        evaluate: Evaluate | None = None,
    ) -> None:
        self.configuration = configuration
        self.source = source
        self.device = device
        self.step = 0
        self.steps = configuration.total_steps(source.batches_per_epoch)
        torch.manual_seed(seed_of("weights", configuration.seed))
        self.model = GroupViT(configuration.model_configuration(text_tokens=text_tokens)).to(device)
        self.optimiser: torch.optim.Optimizer
        self.average: WeightAverage | None = None
        self._text_tokens = text_tokens
        self._folder = folder
        self._identity = identity
        self._evaluate = evaluate
        self._schedule = Schedule.of(configuration, steps=self.steps)
        self._checkpoints = Checkpoints(folder / CHECKPOINTS, configuration.kept_checkpoints)
        self._rank, self._ranks = world()
        self._objective = self._built()
        self._pending: StepMetrics | None = None

    def resume(self) -> bool:
        """Resume from the last checkpoint; return False if there is none. Raises CheckpointError."""
        state = self._checkpoints.latest(device=self.device)
        if state is None:
            return False
        if state["configuration_hash"] != self.configuration.hash or state["identity"] != self._identity:
            raise CheckpointError(
                f"{self._folder} has checkpoints of another configuration or curation: take another folder, "
                "or the configuration that the run began with"
            )
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load(state["average"])
        self.step = state["step"]
        return True

    def run(self) -> Outcome:
        """Train until the end, or until SIGTERM or SIGINT, with a checkpoint at the end either way.

        Raises NotFiniteError, DataError, and the errors of the source; the last checkpoint stays.
        """
        first = self._rank == 0
        with (
            StopSignals() as stop_signals,
            Records(self._folder, step=self.step, steps=self.steps) if first else NoRecords() as records,
        ):
            records.event(self.step, "started", steps=self.steps, configuration=self.configuration.hash)
            try:
                return self._run(stop_signals, records)
            except NotFiniteError as error:
                records.event(error.step, "failed", detail=str(error))
                raise

    def train_step(self, samples: Samples) -> tuple[Losses, torch.Tensor]:
        """Do one step; return the losses before it and the norm of the gradient before clipping."""
        torch.manual_seed(seed_of("noise", self.configuration.seed, self.step, self._rank))
        for group in self.optimiser.param_groups:
            group["lr"] = self._schedule.rate(self.step)
        losses: Losses = self._objective(samples.pixels_B3HW, samples.tokens_BJT, samples.ids_BK)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.configuration.gradient_clip)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.model)
        self.step += 1
        return losses, norm

    def _built(self) -> nn.Module:
        sync_batch_norm(self.model, self.device)
        objective: nn.Module = Objective(self.model, self.configuration).train()
        self.optimiser = adamw(self.model, self.configuration)
        if self.configuration.average_decay is not None:
            self.average = WeightAverage(self.model, self.configuration.average_decay)
        if self.configuration.compile:
            objective.compile()
        if self._ranks > 1:
            devices = [self.device.index] if self.device.type == "cuda" else None
            # Batch norms are synchronised, so no buffer differs between ranks.
            objective = DistributedDataParallel(objective, device_ids=devices, broadcast_buffers=False)
        return objective

    def _run(self, stop_signals: StopSignals, records: Records | NoRecords) -> Outcome:
        meter = Meter(self.configuration.global_batch)
        saved = self.step
        for samples, waited in self._timed():
            losses, norm = self.train_step(samples)
            before = self._pending
            self._pending = StepMetrics(
                self.step,
                losses,
                norm,
                self.model,
                waited=waited,
                stops=stop_signals.requested,
                started=meter.now(),
            )
            told_to_stop = before is not None and self._record(before, meter, records)
            is_saved = self.step % self.configuration.checkpoint_interval == 0
            if is_saved:
                self._take_pending(meter, records)
            with meter.leaving_out():
                if is_saved:
                    saved = self._save(records)
                if self._is_evaluated_at(self.step):
                    self._evaluate_now(records)
            if told_to_stop:
                break
        self._take_pending(meter, records)
        if saved != self.step:
            self._save(records)
        finished = self.step == self.steps
        if finished and not self._is_evaluated_at(self.step):
            self._evaluate_now(records)
        records.event(self.step, "finished" if finished else "stopped")
        return Outcome(self.step, finished)

    def _timed(self) -> Iterator[tuple[Samples, float]]:
        """Yield the samples from the current step on, each with the seconds that it was waited for."""
        while self.step < self.steps:
            epoch, start = divmod(self.step, self.source.batches_per_epoch)
            samples = self.source.samples(epoch, start=start)
            before = self.step
            while True:
                requested = time.perf_counter()
                next_samples = next(samples, None)
                if next_samples is None and self.step == before:
                    raise DataError(f"epoch {epoch} has nothing from batch {start} on")
                if next_samples is None:
                    break
                yield next_samples, time.perf_counter() - requested
                if self.step >= self.steps:
                    return

    def _take_pending(self, meter: Meter, records: Records | NoRecords) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self._record(pending, meter, records)

    def _record(self, metrics: StepMetrics, meter: Meter, records: Records | NoRecords) -> bool:
        """Check and record the metrics of a step; return whether a rank was told to stop."""
        values = metrics.read()
        self._check(metrics.step, values)
        meter.add(values.waited, started=metrics.started)
        records.advance(metrics.step)
        if metrics.step % self.configuration.log_interval == 0 or metrics.step == self.steps:
            records.step(metrics.step, self._recorded(metrics.step, values, meter))
        return values.stops > 0

    def _check(self, step: int, values: Values) -> None:
        for what, value in (("the loss", values.loss), ("the norm of the gradient", values.gradient_norm)):
            if not math.isfinite(value):
                epoch, batch = divmod(step - 1, self.source.batches_per_epoch)
                raise NotFiniteError(step=step, epoch=epoch, batch=batch, what=what)

    def _recorded(self, step: int, values: Values, meter: Meter) -> dict[str, float]:
        recorded = values._asdict()
        del recorded["waited"], recorded["stops"]
        return {
            **recorded,
            "epoch": step / self.source.batches_per_epoch,
            "learning_rate": self._schedule.rate(step - 1),
            **meter.read(),
        }

    def _save(self, records: Records | NoRecords) -> int:
        if self._rank == 0:
            file = self._checkpoints.save(self.step, self._state())
            records.event(self.step, "checkpoint", file=file.name)
        return self.step

    def _state(self) -> dict[str, Any]:
        return {
            "configuration": self.configuration.to_json(),
            "configuration_hash": self.configuration.hash,
            "identity": self._identity,
            "text_tokens": self._text_tokens,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state(),
        }

    def _is_evaluated_at(self, step: int) -> bool:
        interval = self.configuration.evaluation_interval
        return interval is not None and step % interval == 0

    def _evaluate_now(self, records: Records | NoRecords) -> None:
        if self._evaluate is None or self._rank != 0:
            return
        averaged = nullcontext() if self.average is None else self.average.in_place(self.model)
        self.model.eval()
        with averaged, torch.no_grad():
            records.evaluation(self.step, self._evaluate(self.model))
        self.model.train()
