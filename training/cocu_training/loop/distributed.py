"""Ranks as torchrun starts them: one process per device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from cocu_training.error_file import error_written

LONGEST_WAIT = timedelta(hours=3)
"""The longest wait for another rank: the first rank evaluates while the others wait."""


@contextmanager
def ranks(*, device: str = "auto") -> Iterator[torch.device]:
    """Yield the device of this process (auto, cpu or cuda); join the other ranks if torchrun started it."""
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
        # Before this rank leaves the group, which makes the others fail.
        with error_written():
            yield chosen
    finally:
        distributed.destroy_process_group()
