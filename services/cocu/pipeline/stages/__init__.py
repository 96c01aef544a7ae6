"""The stages of the workflow as one table: what each runs on, what follows it, and when it is left out.

A stage is a module of this package with a function `run(lease)`, and a row of `STAGES`. Nothing else in the
workflow names a stage: the planner, the queues, progress, estimates and metrics read this table.

    upload ─▶ fetch ─▶ ingest ─▶ shards
    run    ─▶ embed ─▶ (ivf) ─▶ neighbours ─▶ aggregate ─▶ curate ─▶ publish
                └────▶ index, beside the run                              └─▶ index_concepts, after it
    projection ─▶ project, which nothing waits for

A run goes through the stages of curations from top to bottom. A stage `beside` another stage starts on a
shard as soon as that stage has done the shard; a stage beside the last stage starts when the run ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from cocu.catalog.states import Stage, UploadState
from cocu.curation.parameters import CurationParameters
from cocu.settings import Settings

Unit = Literal["upload", "dataset", "shard", "curation", "projection"]

WHOLE_CURATION = "all"
"""The target of a task that runs on a whole curation."""


def _always(parameters: CurationParameters, samples: int) -> bool:
    return True


def _task_seconds(settings: Settings) -> float:
    return settings.task_seconds


def _fetch_seconds(settings: Settings) -> float:
    return settings.fetch_seconds + 60.0


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One stage. Stages on shards and curations belong to curations, the others to a dataset.

    name: the name of the stage, its module and its queue; stored in the rows of its tasks.
    unit: what one task runs on.
    shared: the result serves every curation of the dataset with the same encoder, so it is computed once.
    beside: the stage after which this one runs on the same shard. The run does not wait for it; only the last
        stage does, until the first failure. Failures do not fail the run, and outages are retried for ever.
        After a stage on whole curations it runs on all their shards. Nothing waits for a stage beside the
        last stage; refusals by the vector store are retried for ever too.
    when: returns whether a run with these parameters and this number of samples has the stage.
    decides_shards: the run goes on with the shards for which this stage is done, and marks them as usable.
    upload_state: for a stage on uploads, the state of the upload while the task is pending or runs. If the
        task fails, an upload in this state fails too.
    endless: the task is tried until it succeeds.
    counts_pairs: the unit of work of an exact search is a pair of samples instead of a sample.
    longest_seconds: returns how long one task may run.
    """

    name: str
    unit: Unit
    shared: bool = False
    beside: str | None = None
    when: Callable[[CurationParameters, int], bool] = _always
    decides_shards: bool = False
    upload_state: UploadState | None = None
    endless: bool = False
    counts_pairs: bool = False
    longest_seconds: Callable[[Settings], float] = _task_seconds

    @property
    def of_curations(self) -> bool:
        """Whether the stage belongs to curations."""
        return self.unit in ("shard", "curation")

    def load(self) -> ModuleType:
        """Return the module of the stage; it is imported at the first call."""
        return import_module(f"{__name__}.{self.name}")

    def run(self, lease: Any) -> None:
        """Run one task, by the function `run` of the module."""
        self.load().run(lease)


def _table(*specs: StageSpec) -> Mapping[str, StageSpec]:
    return {spec.name: spec for spec in specs}


STAGES: Mapping[str, StageSpec] = _table(
    StageSpec(
        name=Stage.FETCH, unit="upload", upload_state=UploadState.RECEIVING, longest_seconds=_fetch_seconds
    ),
    StageSpec(name=Stage.INGEST, unit="upload", upload_state=UploadState.RECEIVED),
    StageSpec(name=Stage.EMBED, unit="shard", shared=True, decides_shards=True),
    StageSpec(name=Stage.INDEX, unit="shard", shared=True, beside=Stage.EMBED),
    StageSpec(
        name=Stage.IVF,
        unit="curation",
        when=lambda parameters, samples: not parameters.searches_exactly(samples),
    ),
    StageSpec(name=Stage.NEIGHBOURS, unit="shard", counts_pairs=True),
    StageSpec(name=Stage.AGGREGATE, unit="curation"),
    StageSpec(name=Stage.CURATE, unit="shard"),
    StageSpec(name=Stage.PUBLISH, unit="curation"),
    StageSpec(name=Stage.INDEX_CONCEPTS, unit="shard", beside=Stage.PUBLISH),
    StageSpec(name=Stage.PROJECT, unit="projection"),
    StageSpec(name=Stage.DELETE, unit="dataset", endless=True),
)


def spec_of(stage: str) -> StageSpec:
    """Return the row of a stage."""
    return STAGES[stage]


def of_curations() -> list[StageSpec]:
    """Return the stages of curations in order, including those beside others."""
    return [spec for spec in STAGES.values() if spec.of_curations]


def beside(stage: str) -> list[StageSpec]:
    """Return the stages that run beside this one."""
    return [spec for spec in STAGES.values() if spec.beside == stage]


def is_awaited(spec: StageSpec) -> bool:
    """Whether a run waits for this stage of it, if only until its first failure: not beside the last one."""
    return spec.beside != chain()[-1].name


def chain() -> list[StageSpec]:
    """Return the stages that a run goes through in order, including those that some runs leave out."""
    return [spec for spec in of_curations() if spec.beside is None]


def first() -> StageSpec:
    """Return the stage that a run starts with."""
    return chain()[0]


def following(stage: str, parameters: CurationParameters, samples: int) -> StageSpec | None:
    """Return the stage after this one in a run with these parameters; None after the last."""
    specs = chain()
    position = specs.index(spec_of(stage))
    return next((spec for spec in specs[position + 1 :] if spec.when(parameters, samples)), None)


def shard_stage(stage: str) -> StageSpec:
    """Return the last stage on shards up to `stage`; the run goes on with the shards that it has done."""
    specs = chain()
    position = specs.index(spec_of(stage))
    return next(spec for spec in reversed(specs[: position + 1]) if spec.unit == "shard")
