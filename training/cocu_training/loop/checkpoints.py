"""Checkpoints: written atomically, and read without executing code from them."""

from __future__ import annotations

import json
import os
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cocu_training.configuration import TrainingConfiguration
from cocu_training.errors import CheckpointError
from cocu_training.model import GroupViT

FORMAT = 1
CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in the folder of a run."""

_NAME = re.compile(r"step-(\d{9})\.pt")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, one file each, named by the steps done. The last `kept` are kept."""

    folder: Path
    kept: int = 2

    def all(self) -> list[Path]:
        """Return all checkpoints, oldest first."""
        return sorted(file for file in self.folder.glob("step-*.pt") if _NAME.fullmatch(file.name))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint and sync it to disk; delete older ones and what a killed process left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:09d}.pt"
        partial = target.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, "step": step, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        _sync_folder(self.folder)
        for old in [*self.all()[: -self.kept], *self.folder.glob("*.partial")]:
            old.unlink(missing_ok=True)
        return target

    def latest(self, *, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """Return the state of the last checkpoint, or None if there is none. Raises CheckpointError."""
        files = self.all()
        return read_checkpoint(files[-1], device=device) if files else None


def read_checkpoint(path: str | Path, *, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read the saved state: step, configuration, model, average, …

    Raises CheckpointError when the file is absent, damaged or not a checkpoint of this version.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no checkpoint, or damaged: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this version")
    return state


def last_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint itself, or the last one in the folder of a run. Raises CheckpointError."""
    target = Path(path)
    if not target.is_dir():
        return target
    for folder in (target / CHECKPOINTS, target):
        if files := Checkpoints(folder).all():
            return files[-1]
    raise CheckpointError(f"{target} has no checkpoints")


def load_model(
    path: str | Path, *, device: torch.device | str = "cpu"
) -> tuple[GroupViT, TrainingConfiguration]:
    """Load the model of a checkpoint, in evaluation mode, and the configuration of its run.

    The weights are the moving average if the run computed one.

    Raises CheckpointError.
    """
    state = read_checkpoint(path, device=device)
    configuration = TrainingConfiguration.from_mapping(json.loads(state["configuration"]))
    model = GroupViT(configuration.model_configuration(text_tokens=state["text_tokens"])).to(device)
    average = state["average"]
    model.load_state_dict(state["model"] if average is None else average["weights"])
    return model.eval(), configuration


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
