"""Runs of a training service: what it is asked, and what it answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from cocu.schemas.base import Link, Name, Request, ResponseModel

ArmName = Literal["caption", "caption_nouns", "topk", "cluster", "oracle"]
ModelName = Literal["small", "scenes", "lean", "tiny"]
RunState = Literal["queued", "running", "stopping", "stopped", "completed", "failed"]
RunOrder = Literal["created_at", "-created_at"]
RunEventKind = Literal["state", "step", "evaluation", "event"]
RunFileKind = Literal["checkpoint", "preview", "evaluation", "records", "tensorboard", "log", "other"]
ENDED: frozenset[RunState] = frozenset({"stopped", "completed", "failed"})
"""States of a run that does not go on by itself."""
ID = "^[0-9A-Za-z_-]{1,64}$"
"""Ids of curations, as a request may name one."""


class RunCreate(Request):
    """A run to train.

    configuration: fields that differ from the preset's. arm: source of the texts besides the caption, as in
    the configuration: caption and caption_nouns are the baselines, topk and cluster sample the curation,
    oracle knows every true label.
    """

    curation: str = Field(pattern=ID)
    preset: ModelName = "small"
    configuration: dict[str, Any] = Field(default_factory=dict)
    arm: ArmName | None = None
    name: Name | None = None


class Run(ResponseModel):
    """A run.

    step: the last one recorded, of `steps`. starts: how often its processes were started. ahead: runs before
    it in the queue, while it is queued. detail: why it is in this state; of a failed run the end of its log.
    latest, evaluation: the figures of its last recorded step and evaluation.
    """

    id: str
    state: RunState
    curation: str
    name: str | None
    arm: ArmName
    configuration: dict[str, Any]
    configuration_hash: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    step: int
    steps: int | None
    starts: int
    ahead: int | None
    detail: str | None
    latest: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether it does not go on by itself."""
        return self.state in ENDED


class RunEvent(ResponseModel):
    """Something that happened to a run.

    state: its state changed. step, evaluation: figures after a step. event: the trainer has
    started, checkpoint, stopped, finished, failed. After a resumption, steps begin at the last checkpoint.
    """

    id: int
    run: str
    at: datetime
    kind: RunEventKind
    values: dict[str, Any]


class RunFile(ResponseModel):
    """A file of a run, under `url`."""

    name: str
    kind: RunFileKind
    bytes: int
    modified_at: datetime
    url: Link


class RunResults(ResponseModel):
    """The results of a run so far.

    latest: figures of its last recorded step. evaluations: figures of each evaluation, oldest first. files:
    checkpoints, previews, records and the rest, by name.
    """

    run: str
    state: RunState
    latest: dict[str, Any] | None
    evaluations: list[dict[str, Any]]
    files: list[RunFile]


class Series(ResponseModel):
    """A figure over the steps: `value[i]` is of the optimiser step `step[i]`; steps ascend."""

    step: list[int]
    value: Annotated[list[float], Field(description="As many as there are steps.")]


class RunSeries(ResponseModel):
    """The figures of a run.

    steps: by the name of a figure, what was recorded in training: losses in nats, of the step itself;
    images_per_second of all processes and wait_seconds for a batch, over the steps since the record before;
    collision_rate as a share from 0 to 1. Where there is more than fits, the steps are divided into spans of
    equal length, and each keeps its lowest and its highest value; the first and the last record are always
    there. evaluations: by name, the latest thousand, none left out; mean_iou and pixel_accuracy as shares
    from 0 to 1. thinned: whether any figure of `steps` has fewer points than were recorded. What a resumed
    run trains again replaces what it had recorded of it.
    """

    run: str
    state: RunState
    steps: dict[str, Series]
    evaluations: dict[str, Series]
    thinned: bool
