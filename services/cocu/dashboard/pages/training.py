"""The runs of the training service, by curation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from cocu.client import (
    ClientError,
    CocuClient,
    ConnectionFailedError,
    NotFoundError,
    ProblemError,
    TrainingClient,
)
from cocu.dashboard import links
from cocu.dashboard.client_calls import ClientCalls
from cocu.dashboard.pages import problem
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.dashboard.run_curves import MOST_LINES
from cocu.schemas.training import Run

SHOWN: Final = 50
TITLED: Final = 12
"""Curations whose datasets are asked for by name."""
TITLE_SECONDS: Final = 2.0
"""How long a page about runs waits for the names of datasets."""
COUNTED: Final = 20
COUNT_SECONDS: Final = 2.0
"""How long the page of a curation waits to know how often it was trained on."""
AWAY: Final = problem.Problem(
    "The training service does not answer",
    "Runs that were started go on without it. Try again in a moment; COCU_TRAINING says where it is asked.",
    may_pass=True,
)
CONFUSED: Final = problem.Problem(
    "The training service answers something unexpected",
    "COCU_TRAINING must be the URL of a training service (cocu-train serve) of the version of these pages.",
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
        except NotFoundError:
            # Every training service has a list of runs.
            return problem.render(request, CONFUSED, 502)
        except ClientError as error:
            return trouble(request, error)
        wanted = list(dict.fromkeys(run.curation for run in page.items))
        titles = await titles_of(request, wanted)
        groups = tuple(
            CurationRuns(
                name, titles.get(name), tuple(RunRow(run) for run in page.items if run.curation == name)
            )
            for name in wanted
        )
        view = Runs(groups, curation, page.next)
    return renderer.page(request, "training.html", title="Training", crumbs=crumbs, view=view, links=links)


async def titles_of(request: Request, curations: Sequence[str]) -> dict[str, str]:
    """The names of the datasets of the first TITLED curations, as far as the platform says them in time."""
    titles: dict[str, str] = {}
    calls: ClientCalls[CocuClient] = request.app.state.calls
    # What a page calls its runs is not worth failing for, nor waiting.
    with suppress(ClientError, TimeoutError):
        await calls.run(lambda client: _add_titles(client, curations[:TITLED], titles), within=TITLE_SECONDS)
    return dict(titles)


def _add_titles(client: CocuClient, curations: Sequence[str], titles: dict[str, str]) -> None:
    """Add the names of their datasets; those that are gone have none. A platform that fails is left alone."""
    names: dict[str, str] = {}
    for identifier in curations:
        with suppress(NotFoundError):
            dataset = client.curations.get(identifier).dataset
            if dataset not in names:
                names[dataset] = client.datasets.get(dataset).name
            titles[identifier] = names[dataset]


async def runs_of(request: Request, curation: str) -> str | None:
    """How many runs trained on a curation, in words, or why that is not known; None where there are none.

    It waits for COUNT_SECONDS at most: the page is about something else.
    """
    counts: ClientCalls[TrainingClient] | None = request.app.state.counts
    if counts is None:
        return None
    try:
        page = await counts.run(
            lambda client: client.runs.page(curation=curation, limit=COUNTED), within=COUNT_SECONDS
        )
    except TimeoutError:
        return _not_known(AWAY)
    except ClientError as error:
        return _not_known(_problem_of(error) or CONFUSED)
    if page.next is not None:
        return f"more than {COUNTED} runs"
    count = len(page.items)
    return None if not count else f"{count} run{'' if count == 1 else 's'}"


def _not_known(why: problem.Problem) -> str:
    return f"not known, {why.title[0].lower()}{why.title[1:]}"


def trouble(request: Request, error: ClientError) -> Response:
    """The page for an error of the training service, with a status that says whose it is."""
    told = _problem_of(error)
    if told is None:
        raise error
    return problem.render(request, told, 503 if told.may_pass else 502)


def _problem_of(error: ClientError) -> problem.Problem | None:
    """What an error of the training service means; None where it is about what was asked for."""
    if isinstance(error, ConnectionFailedError):
        return AWAY
    if isinstance(error, ProblemError):
        status = error.problem.status
        return {401: LOCKED, 503: AWAY}.get(status, CONFUSED if status >= 500 else None)
    return CONFUSED


def short(run: str) -> str:
    """The beginning of the id of a run, which tells it from the others."""
    return run.removeprefix("run_")[:8]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
