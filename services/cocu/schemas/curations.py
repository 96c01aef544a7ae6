"""Curations: parameters, progress and results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from cocu.schemas.archives import Archive
from cocu.schemas.base import Request, ResponseModel

CurationOrder = Literal["created_at", "-created_at"]
"""Oldest or newest first."""
CurationState = Literal["queued", "running", "completed", "completed_with_errors", "failed", "cancelled"]
COMPLETED: frozenset[CurationState] = frozenset({"completed", "completed_with_errors"})
"""States with archives."""
FINISHED: frozenset[CurationState] = COMPLETED | {"failed", "cancelled"}
"""Final states."""


NeighbourSearch = Literal["auto", "exact", "ivf"]
Scoring = Literal["evidence", "official", "set"]


class Parameters(Request):
    """Parameters of a curation; those left out have the platform's defaults (`PARAMETER_DEFAULTS`)."""

    neighbours: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="L: how many of the most similar images lend their captions to an archive. "
        "Unit: images. Default: 16.",
    )
    search: NeighbourSearch | None = Field(
        default=None,
        description="How similar images are found: exact compares all pairs, ivf (inverted file) only "
        "those in the nearest k-means cells, auto is exact for up to 300,000 samples. Default: auto.",
    )
    own_caption: bool | None = Field(
        default=None,
        description="Whether an image's own caption contributes concepts to its archive. Default: true.",
    )
    scoring: Scoring | None = Field(
        default=None,
        description="How concepts are ranked: evidence weighs captions and image as log-odds, official "
        "scores as the released script, set is its corrected form. Default: evidence.",
    )
    clustering: bool | None = Field(
        default=None,
        description="Whether similar concepts of an archive are clustered, so that draws vary. "
        "Default: true.",
    )
    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="The lowest score that an archive keeps; null keeps everything. Unit: that of the "
        "scoring, for evidence log-odds. Default: null.",
    )
    max_concepts: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description="The most concepts that an archive keeps, best first; null keeps all. Unit: concepts. "
        "Default: null.",
    )
    duplicate_similarity: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="The cosine from which images that look alike count as copies, whose captions do not "
        "count twice. Unit: cosine. Default: 0.9.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="The seed of the first centres of clusters. Unit: none. Default: 0.",
    )


PARAMETER_DEFAULTS: Mapping[str, Any] = {
    "neighbours": 16,
    "search": "auto",
    "own_caption": True,
    "scoring": "evidence",
    "clustering": True,
    "min_score": None,
    "max_concepts": None,
    "duplicate_similarity": 0.9,
    "seed": 0,
}
"""The platform's default of every parameter, for forms; a test compares them with the algorithm's."""


class CurationCreate(Request):
    """A request for a curation; the same request for the same samples gives the same curation.

    vocabulary: the id of a vocabulary; null for the shipped one. encoder: the id or name of an encoder; null
    for the server's default.
    """

    vocabulary: str | None = None
    encoder: str | None = None
    parameters: Parameters = Field(default_factory=Parameters)


class StageProgress(ResponseModel):
    """The progress of one stage, in tasks and in their samples."""

    stage: str
    done: int
    total: int
    failed: int = 0
    samples_done: int = 0
    samples_total: int = 0


class Curation(ResponseModel):
    """One immutable run; `content_hash` is set when it is completed, and every repetition gives the same.

    left_out: uploads of the dataset whose samples are not in it, and the reason by name: they were still
    arriving when the curation was requested, or had failed. At most 100. threshold: the score from which a
    concept counts as added, None where nobody set one; it is no part of the result and may change.
    While it is queued or runs: stage is the present one, samples_done counts the samples that it has done,
    per_second how many it does in a second, and remaining_seconds is the time until the curation ends. Both
    rates come from tasks that have ended, and are null while none has; all four are null when it has ended.
    """

    id: str
    dataset: str
    snapshot: str
    samples: int
    vocabulary: str
    encoder: str
    encoder_hash: str
    parameters: dict[str, Any]
    state: CurationState
    stages: list[StageProgress]
    stage: str | None = None
    samples_done: int | None = None
    per_second: float | None = None
    remaining_seconds: float | None = None
    statistics: dict[str, Any] | None = None
    left_out: dict[str, str] = Field(default_factory=dict)
    content_hash: str | None = None
    threshold: float | None = None
    detail: str | None = None
    created_at: datetime
    finished_at: datetime | None = None

    @property
    def completed(self) -> bool:
        """Whether its archives can be read."""
        return self.state in COMPLETED

    @property
    def finished(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.state in FINISHED


class StageEstimate(ResponseModel):
    """The work of one stage of a curation; shards and samples that are `there` are not computed again.

    seconds: of one worker, from the rate of this stage on this platform; null if it was not measured yet.
    measured: number of samples in this measurement.
    """

    stage: str
    shards: int
    shards_there: int
    samples: int
    samples_there: int
    seconds: float | None
    measured: int = 0


class CurationEstimate(ResponseModel):
    """A curation and its costs if it were started now; nothing was started.

    id: the id that it would have. state: null unless it exists already. pairs: pairs of images to compare in
    the search for neighbours, without those that an earlier curation (`builds_on`) compared; null if only the
    nearest cells are searched. pairs_in_all: all pairs of samples.
    seconds: of one worker, for all stages; null if a stage has no rate yet (`not_known` says which).
    bytes: bytes to write into the object store; null as for seconds. bytes_free: its free space, if known.
    memory: maximum bytes per worker, in addition to the process and its encoder.
    """

    id: str
    state: CurationState | None
    dataset: str
    snapshot: str
    samples: int
    shards: int
    vocabulary: str
    encoder: str
    encoder_hash: str
    parameters: dict[str, Any]
    stages: list[StageEstimate]
    pairs: int | None
    pairs_in_all: int
    builds_on: str | None
    seconds: float | None
    bytes: int | None
    bytes_free: int | None
    memory: int
    not_known: list[str] = Field(default_factory=list)


class TaskFailure(ResponseModel):
    """A task of a curation that failed, and is tried again or was given up.

    shard: null for a stage on the whole curation. attempts: how often a worker took it. reason: the last
    error. next_attempt: when it is tried again at the earliest; null if it runs again just now, or was given
    up.
    """

    stage: str
    shard: str | None
    given_up: bool
    attempts: int
    reason: str
    next_attempt: datetime | None


class CurationPreview(ResponseModel):
    """The archives that a few samples of a dataset would have; nothing was stored.

    id: that the curation would have. basis: the completed curation whose files were read. archives: of
    samples that are drawn once for a dataset, in its order. differs: why they may differ from those of the
    curation; empty where they are equal.
    """

    id: str
    dataset: str
    basis: str
    samples: int
    archives: list[Archive]
    differs: list[str] = Field(default_factory=list)


class CurationEvent(ResponseModel):
    """An event of a curation; ids increase, so a reader can continue after the last event it has.

    kind: "state" (data: state), "stage" (the next stage began: stage), "progress" (a task ended; data is the
    progress of its stage, with per_second and remaining_seconds as in `Curation`; at most one a second, and
    one when the stage ends), "deleted".
    """

    id: int
    at: datetime
    kind: str
    data: dict[str, Any] = Field(default_factory=dict)


class PlatformEvent(ResponseModel):
    """An event of a curation, an upload or a projection; ids increase over everything that a tenant has.

    kind: "state", "stage" and "progress" of a curation, with data as in `CurationEvent`; "upload" when the
    state of an upload changed (data: upload, its name; state, accepted, bytes, detail); "projection" when
    that of a projection changed (data: projection, its id; state, detail); "now" as the first event of a
    stream without Last-Event-ID, whose id says from where on events follow.
    """

    id: int
    at: datetime
    kind: str
    curation: str | None = None
    dataset: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
