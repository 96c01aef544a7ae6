"""Ranks as torchrun starts them: a process for each device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

LONGEST_WAIT = timedelta(hours=3)
"""For another rank: the first one evaluates while the others wait."""


@contextmanager
def ranks(*, device: str = "auto") -> Iterator[torch.device]:
    """This process's device (auto, cpu or cuda), joined with the other ranks where torchrun started it."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    chosen = (
        torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)
    )
    if kind == "cuda":
        torch.cuda.set_device(chosen)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield chosen
        return
    distributed.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        timeout=LONGEST_WAIT,
        device_id=chosen if kind == "cuda" else None,
    )
    try:
        yield chosen
    finally:
        distributed.destroy_process_group()
