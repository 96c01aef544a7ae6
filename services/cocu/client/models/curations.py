"""Curations: what to run, how far it is, what it came to."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from cocu.client.models.base import Answer, Request

CurationState = Literal["queued", "running", "completed", "completed_with_errors", "failed", "cancelled"]
COMPLETED: frozenset[CurationState] = frozenset({"completed", "completed_with_errors"})
"""States in which there are archives."""
FINISHED: frozenset[CurationState] = COMPLETED | {"failed", "cancelled"}
"""States that no curation leaves."""


class Parameters(Request):
    """Parameters of a curation; what is left out has the platform's default.

    neighbours: L, how many other images' captions an archive draws on.
    search: "exact" looks for neighbours among all samples, "cells" in the nearest cells of the space;
        "auto" is exact up to 300,000 samples.
    own_caption: whether the image's own caption contributes candidates.
    scoring: how candidates are ranked.
    clustering: whether archives are clustered.
    min_score, max_concepts: what an archive keeps; null keeps everything.
    duplicate_similarity: cosine from which two images count as the same picture.
    seed: of the k-means seeding.
    """

    neighbours: int | None = Field(default=None, ge=1, le=256)
    search: Literal["auto", "exact", "cells"] | None = None
    own_caption: bool | None = None
    scoring: Literal["evidence", "official", "set"] | None = None
    clustering: bool | None = None
    min_score: float | None = Field(default=None, allow_inf_nan=False)
    max_concepts: int | None = Field(default=None, ge=1, le=2**31 - 1)
    duplicate_similarity: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)


class CurationCreate(Request):
    """What to curate a dataset with; the same request for the same samples is the same curation.

    vocabulary: the id of a vocabulary; null is the shipped one. encoder: the id or name of an encoder; null
    is the server's default.
    """

    vocabulary: str | None = None
    encoder: str | None = None
    parameters: Parameters = Field(default_factory=Parameters)


class StageProgress(Answer):
    """How much of one stage is done: chunks of work, and the samples in them."""

    stage: str
    done: int
    total: int
    failed: int = 0
    samples_done: int = 0
    samples_total: int = 0


class Curation(Answer):
    """One immutable run; `content_hash` is set once completed, and the same wherever it is run again."""

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
    statistics: dict[str, Any] | None = None
    content_hash: str | None = None
    detail: str | None = None
    created_at: datetime
    finished_at: datetime | None = None

    @property
    def completed(self) -> bool:
        """Whether there are archives to read."""
        return self.state in COMPLETED

    @property
    def finished(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.state in FINISHED


class StageEstimate(Answer):
    """What one stage of a curation would have to do; shards and samples that are there are not done again.

    seconds: of one worker, by the rate that this stage had on this platform; null where nothing was measured
    yet. measured: samples from which the rate comes.
    """

    stage: str
    shards: int
    shards_there: int
    samples: int
    samples_there: int
    seconds: float | None
    measured: int = 0


class CurationEstimate(Answer):
    """What a curation would be, and cost, if it were started now; nothing was started.

    id: it would have this one. state: null unless it exists already. pairs: of images to compare in search of
    neighbours, without those whose lists an earlier curation (`builds_on`) knows; null where only the nearest
    cells are searched. pairs_in_all: of samples.
    seconds: of one worker, over all stages; null where a stage has no rate yet (`not_known` says which).
    bytes: that will be written into the object store; null likewise. bytes_free: there, where that is known.
    memory: bytes a worker takes at most beside what the process and its encoder take.
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


class CurationEvent(Answer):
    """Something that happened in a curation; ids grow, so that a reader can go on after the last it saw."""

    id: int
    at: datetime
    kind: str
    data: dict[str, Any] = Field(default_factory=dict)
