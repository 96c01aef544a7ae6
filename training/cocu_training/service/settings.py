"""The settings of a training service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_TENANT = "default"


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Settings of one service.

    data: folder of all data of the service. platform: URL of the platform that runs read batches from;
    callers cannot choose it. platform_keys: the platform's API key of each tenant, for its runs.
    keys: file of the service's own API keys (see `keys`); while it does not exist, every caller is the tenant
    "default", as on the platform.
    files: folder of the tokenizers and tables that configurations may name. devices: processes that torchrun
    starts; None: one per GPU, or one. command: replaces torchrun and the module of the command line before
    `run …`.
    stop_seconds: how long a run may take to write its checkpoint when it is stopped, before it is killed.
    poll_seconds: pause between two looks at the processes and records of a run.
    max_interruptions: how often a run whose processes vanish without a step in between is started again.
    max_queued: queued runs of one tenant. max_workers: decoding processes of each rank.
    hosts: host names that the service answers to besides localhost and addresses. max_connections: limit of
    open connections.
    leave_running: whether a run continues when the service ends; else it writes a checkpoint, and continues
    when the service starts again. evaluate: PROTOCOL=FOLDER that every run is evaluated on.
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
    max_interruptions: int = 3
    max_queued: int = 100
    max_workers: int = field(default_factory=lambda: max(8, os.cpu_count() or 1))
    idempotency_seconds: float = 24 * 3600.0
    leave_running: bool = False
    hosts: tuple[str, ...] = ()
    max_connections: int = 1024
    evaluate: str | None = None

    @property
    def keys_file(self) -> Path:
        """The file of the service's API keys."""
        return self.keys or self.data / "keys.json"

    @property
    def keys_note(self) -> Path:
        """The file that makes requests need a key from now on; deleting it opens the service to everybody."""
        return self.data / "needs-api-keys"

    def run_folder(self, run: str) -> Path:
        """The folder of a run."""
        return self.data / "runs" / run
