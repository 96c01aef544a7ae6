"""The overview: what runs, which datasets and curations there are, whether the parts work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import ClientError, CocuClient, UnavailableError
from cocu.dashboard import links
from cocu.dashboard.forms import form_of
from cocu.dashboard.pages import problem
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import ArchiveCard, Curation, Dataset, DatasetCreate, Health, StageProgress

SHOWN = 100
"""Datasets and curations listed; more are counted, and said to be left out."""
RECENT = 10
CARDS = 6
NAMES = "Go back and choose another name for the dataset."


@dataclass(frozen=True)
class Run:
    """A curation with what its row shows."""

    curation: Curation
    dataset: str

    @property
    def present(self) -> StageProgress | None:
        """The stage that it is in."""
        return next((stage for stage in self.curation.stages if stage.stage == self.curation.stage), None)

    @property
    def share(self) -> float:
        """The part of the present stage that is done."""
        stage = self.present
        if stage is None or not stage.samples_total:
            return 0.0
        return min(1.0, stage.samples_done / stage.samples_total)

    @property
    def number(self) -> int:
        """Which of its stages the present one is, from 1 on."""
        names = [stage.stage for stage in awaited(self.curation)]
        return names.index(self.curation.stage) + 1 if self.curation.stage in names else 1

    @property
    def stages(self) -> int:
        """How many stages it waits for."""
        return len(awaited(self.curation))

    @property
    def failed(self) -> int:
        """How many tasks were given up."""
        return sum(stage.failed for stage in self.curation.stages)


@dataclass(frozen=True)
class Overview:
    """What the overview shows."""

    running: tuple[Run, ...]
    recent: tuple[Run, ...]
    datasets: tuple[tuple[Dataset, int], ...]
    more_datasets: bool
    health: Health | None
    trouble: str | None
    newest: Curation | None = None
    cards: tuple[ArchiveCard, ...] = ()


def read(client: CocuClient) -> Overview:
    """Ask for everything the overview shows."""
    datasets = list(islice(client.datasets.list(page_size=SHOWN), SHOWN + 1))
    curations = list(client.curations.list(order="-created_at", limit=SHOWN))
    # Those that run are few, and may be older than the ones listed.
    running = list(client.curations.list(state=("queued", "running"), order="-created_at", limit=SHOWN))
    names = {dataset.id: dataset.name for dataset in datasets}
    per_dataset = {dataset.id: 0 for dataset in datasets}
    for curation in curations:
        if curation.dataset in per_dataset:
            per_dataset[curation.dataset] += 1
    health, trouble = _health(client)
    ended = [curation for curation in curations if curation.finished]

    newest = next((curation for curation in curations if curation.completed), None)
    cards = () if newest is None else _cards(client, newest)

    def runs(listed: Sequence[Curation]) -> tuple[Run, ...]:
        return tuple(Run(curation, names.get(curation.dataset, curation.dataset)) for curation in listed)

    return Overview(
        running=runs(running),
        recent=runs(ended[:RECENT]),
        datasets=tuple((dataset, per_dataset[dataset.id]) for dataset in datasets[:SHOWN]),
        more_datasets=len(datasets) > SHOWN,
        health=health,
        trouble=trouble,
        newest=newest,
        cards=cards,
    )


async def show(request: Request) -> Response:
    """The page."""
    view = await request.app.state.calls.run(read)
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request, "overview.html", title="Overview", crumbs=[Crumb("Overview")], view=view, links=links
    )


async def create_dataset(request: Request) -> Response:
    """Create a dataset by the form's name, and go to its page."""
    form = await form_of(request)
    name = str(form.get("name", "")).strip()
    try:
        DatasetCreate(name=name)
    except ValidationError as error:
        # The client refuses what the platform would.
        reasons = tuple(("name", reason["msg"].removeprefix("Value error, ")) for reason in error.errors())
        return problem.render(request, problem.Problem("This name cannot be used", NAMES, reasons), 422)
    dataset = await request.app.state.calls.run(lambda client: client.datasets.create(name))
    return RedirectResponse(links.dataset(dataset.id), status_code=303)


def awaited(curation: Curation) -> list[StageProgress]:
    """The stages that a curation goes through; those beside it write to the vector store."""
    return [stage for stage in curation.stages if stage.stage not in {"index", "index_concepts"}]


def _cards(client: CocuClient, curation: Curation) -> tuple[ArchiveCard, ...]:
    """The archives with the best added concepts; none where they cannot be read just now."""
    try:
        return tuple(client.archives.cards(curation.id, order="-best_added", limit=CARDS))
    except ClientError:
        return ()


def _health(client: CocuClient) -> tuple[Health | None, str | None]:
    try:
        return client.health(), None
    except UnavailableError as error:
        return None, str(error)
    except ClientError as error:
        return None, str(error)
