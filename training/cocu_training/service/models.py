"""What goes over the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, WithJsonSchema

from cocu.client.models import Answer
from cocu.client.models.base import Request
from cocu_training.configuration import ArmName, ModelName, TrainingConfiguration
from cocu_training.service.runs import State

ID = "^[0-9A-Za-z_-]{1,64}$"
EventKind = Literal["state", "step", "evaluation", "event"]
FileKind = Literal["checkpoint", "preview", "evaluation", "records", "tensorboard", "log", "other"]

Configuration = Annotated[
    dict[str, Any], WithJsonSchema(TypeAdapter(TrainingConfiguration).json_schema(mode="validation"))
]


class RunCreate(Request):
    """A run to train.

    configuration: fields that differ from the preset's. arm: where the texts beside the caption come from, as
    in the configuration: caption and caption_nouns are the baselines, topk and cluster sample the curation,
    oracle knows all that is true.
    """

    curation: str = Field(pattern=ID)
    preset: ModelName = "small"
    configuration: Configuration = Field(default_factory=dict)
    arm: ArmName | None = None
    name: str | None = Field(default=None, min_length=1, max_length=200)


class Run(Answer):
    """A run.

    step: the last one recorded, of `steps`. starts: how often its processes were started. ahead: runs before
    it in the queue, while it is queued. detail: why it is in this state; of a failed run the end of its log.
    """

    id: str
    state: State
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


class RunEvent(Answer):
    """Something that happened to a run.

    state: its state changed. step, evaluation: figures after a step. event: what the trainer says of itself:
    started, checkpoint, stopped, finished, failed. After a resumption, steps begin at the last checkpoint.
    """

    id: int
    run: str
    at: datetime
    kind: EventKind
    values: dict[str, Any]


class RunFile(Answer):
    """A file of a run, under `url`."""

    name: str
    kind: FileKind
    bytes: int
    modified_at: datetime
    url: str


class RunResults(Answer):
    """What a run has come to so far.

    latest: figures of its last recorded step. evaluations: figures of each evaluation, oldest first. files:
    checkpoints, previews, records and the rest, by name.
    """

    run: str
    state: State
    latest: dict[str, Any] | None
    evaluations: list[dict[str, Any]]
    files: list[RunFile]
