"""What one training service is made of and what it allows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_TENANT = "default"


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Settings of one service.

    data: folder of everything it keeps. platform: URL of the platform that runs pull batches from; callers do
    not choose it. platform_keys: the platform's API key of each tenant, which runs of that tenant use.
    keys: file of the service's own API keys (see `keys`); as long as there is none, whoever reaches the
    service is the tenant "default", as on the platform.
    files: folder that tokenizers and tables named in configurations must lie in. devices: processes that
    torchrun starts; None for as many as there are GPUs, or one. command: what stands before `run …` in the
    place of torchrun and the module of the command line.
    stop_seconds: how long a run may take to write its checkpoint when it is stopped, before it is killed.
    poll_seconds: how often the processes and records of a run are looked at.
    most_interruptions: how often a run whose processes vanish without a step in between is started again.
    most_queued: runs of one tenant that may wait. most_workers: processes that decode, for each rank.
    leave_running: whether a run goes on by itself when the service ends; else it writes a checkpoint, and
    goes on when the service is back. evaluate: PROTOCOL=FOLDER that every run is evaluated on.
    """

    data: Path
    platform: str = "http://127.0.0.1:8000"
    platform_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    keys: Path | None = None
    files: Path = Path()
    devices: int | None = None
    command: tuple[str, ...] | None = None
    stop_seconds: float = 300.0
    poll_seconds: float = 0.3
    most_interruptions: int = 3
    most_queued: int = 100
    most_workers: int = field(default_factory=lambda: max(8, os.cpu_count() or 1))
    idempotency_seconds: float = 24 * 3600.0
    leave_running: bool = False
    evaluate: str | None = None

    @property
    def keys_file(self) -> Path:
        """Where the service's API keys are."""
        return self.keys or self.data / "keys.json"

    def run_folder(self, run: str) -> Path:
        """Where everything of a run is."""
        return self.data / "runs" / run
