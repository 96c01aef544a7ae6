"""The runs of the training service, by curation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response

from cocu.client import ClientError, CocuClient, ConnectionFailedError, ProblemError, TrainingClient
from cocu.dashboard import links
from cocu.dashboard.client_calls import ClientCalls
from cocu.dashboard.pages import problem
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.dashboard.run_curves import MOST_LINES
from cocu.schemas.training import Run

SHOWN: Final = 50
TITLED: Final = 12
"""Curations whose datasets are asked for by name."""
COUNTED: Final = 20
COUNT_SECONDS: Final = 1.0
"""How long the page of a curation waits to know how often it was trained on."""
AWAY: Final = problem.Problem(
    "The training service does not answer",
    "Runs that were started go on without it. It is asked again in a moment.",
    may_pass=True,
)
LOCKED: Final = problem.Problem(
    "The training service asks for a key",
    "Give the dashboard one of its keys, as COCU_TRAINING_API_KEY; cocu-train key create makes one.",
)


@dataclass(frozen=True)
class RunRow:
    """A run with what its row shows."""

    run: Run

    @property
    def share(self) -> float:
        """The part of its steps that is done."""
        return min(1.0, self.run.step / self.run.steps) if self.run.steps else 0.0

    @property
    def name(self) -> str:
        """What it is called: its own name, or the beginning of its id."""
        return self.run.name or short(self.run.id)

    def figure(self, name: str) -> float | None:
        """A figure of its last step."""
        return _number((self.run.latest or {}).get(name))

    @property
    def mean_iou(self) -> float | None:
        """The mIoU of its last evaluation."""
        return _number((self.run.evaluation or {}).get("mean_iou"))


@dataclass(frozen=True)
class CurationRuns:
    """The runs on one curation. title: the name of its dataset; None where it is not known any more."""

    curation: str
    title: str | None
    rows: tuple[RunRow, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """Runs that are drawn beside the newest one."""
        return tuple(row.run.id for row in self.rows[1:MOST_LINES])


@dataclass(frozen=True)
class Runs:
    """What the page shows; groups by their newest run. curation: the only one that is shown."""

    groups: tuple[CurationRuns, ...]
    curation: str | None
    next: str | None

    @property
    def is_running(self) -> bool:
        """Whether the page changes by itself."""
        return any(not row.run.ended for group in self.groups for row in group.rows)


async def show(request: Request) -> Response:
    """The page; without a training service it says how to start one."""
    renderer: Renderer = request.app.state.renderer
    crumbs = [Crumb("Overview", "/"), Crumb("Training")]
    service: ClientCalls[TrainingClient] | None = request.app.state.training
    view = None
    if service is not None:
        curation = request.query_params.get("curation") or None
        cursor = request.query_params.get("after") or None
        try:
            page = await service.run(
                lambda client: client.runs.page(
                    curation=curation, order="-created_at", limit=SHOWN, cursor=cursor
                )
            )
        except ClientError as error:
            return trouble(request, error)
        wanted = list(dict.fromkeys(run.curation for run in page.items))
        titles = await request.app.state.calls.run(lambda client: titles_of(client, wanted))
        groups = tuple(
            CurationRuns(
                name, titles.get(name), tuple(RunRow(run) for run in page.items if run.curation == name)
            )
            for name in wanted
        )
        view = Runs(groups, curation, page.next)
    return renderer.page(request, "training.html", title="Training", crumbs=crumbs, view=view, links=links)


def titles_of(client: CocuClient, curations: Sequence[str]) -> dict[str, str]:
    """The names of the datasets of the first TITLED curations; of those that are gone there are none."""
    titles: dict[str, str] = {}
    names: dict[str, str] = {}
    for identifier in curations[:TITLED]:
        # What a page calls its runs is not worth failing for.
        with suppress(ClientError):
            dataset = client.curations.get(identifier).dataset
            if dataset not in names:
                names[dataset] = client.datasets.get(dataset).name
            titles[identifier] = names[dataset]
    return titles


async def runs_of(request: Request, curation: str) -> str | None:
    """How many runs trained on a curation, in words; None where there are none or that is not known at once.

    It waits for a second at most: the page is about something else.
    """
    service: ClientCalls[TrainingClient] | None = request.app.state.training
    if service is None:
        return None
    count = 0
    with anyio.move_on_after(COUNT_SECONDS):
        try:
            page = await service.run(
                lambda client: client.runs.page(curation=curation, limit=COUNTED), leave=True
            )
        except ClientError:
            return None
        count = len(page.items)
        if page.next is not None:
            return f"more than {count} runs"
    return None if not count else f"{count} run{'' if count == 1 else 's'}"


def trouble(request: Request, error: ClientError) -> Response:
    """The page for an error of the training service, with a status that says whose it is."""
    if isinstance(error, ConnectionFailedError):
        return problem.render(request, AWAY, 503)
    if isinstance(error, ProblemError) and error.problem.status == 401:
        return problem.render(request, LOCKED, 502)
    raise error


def short(run: str) -> str:
    """The beginning of the id of a run, which tells it from the others."""
    return run.removeprefix("run_")[:8]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
