"""A dataset: its pictures, its report, its uploads, its curations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import CocuClient
from cocu.dashboard import links
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import Curation, Dataset, Report, Sample, Upload
from cocu.schemas.formats import ENDINGS as FILE_ENDINGS

TABS: Final = {"pictures": "Pictures", "report": "Report", "uploads": "Uploads", "curations": "Curations"}
PICTURES = 60
RETRIED: Final = (
    ("upload", "uploads"),
    ("row of a table", "rows of tables"),
    ("sample", "samples"),
    (
        "file that did not arrive, which you must send again",
        "files that did not arrive, which you must send again",
    ),
)
UPLOADS = 200
ENDINGS: Final = (*FILE_ENDINGS, ".csv", ".tsv")
"""Of the files that may be uploaded; a table may be compressed, with .gz or .zst behind."""


@dataclass(frozen=True)
class SampleQuery:
    """Which pictures are shown: those whose captions have these words, from a row or a cursor on."""

    caption: str | None = None
    row: int | None = None
    after: str | None = None
    note: str | None = None

    @classmethod
    def read(cls, query: QueryParams) -> SampleQuery:
        """The query of a request; a row that is not a number is left out and noted."""
        row = query.get("row", "").strip()
        is_row = row.isdecimal() and len(row) < 16
        return cls(
            caption=query.get("caption", "").strip()[:200] or None,
            row=int(row) if is_row else None,
            after=query.get("after") or None,
            note="“from row” is a whole number from 0 on; it is left out." if row and not is_row else None,
        )

    def pairs(self, after: str | None) -> list[tuple[str, str]]:
        """The query of the page that begins at a cursor."""
        pairs = [("caption", self.caption)] if self.caption else []
        if after is None and self.row is not None:
            pairs.append(("row", str(self.row)))
        return pairs if after is None else [*pairs, ("after", after)]

    @property
    def nothing(self) -> str:
        """What is said where no picture is found."""
        if self.row is None or self.after is not None:
            return "No caption here has these words." if self.caption else "No more pictures are here."
        having = " whose caption has these words" if self.caption else ""
        return f"There is no picture from row {self.row:,} on{having}."


@dataclass(frozen=True)
class DatasetView:
    """What the page of a dataset shows; what another tab shows is empty."""

    dataset: Dataset
    tab: str
    query: SampleQuery
    samples: tuple[Sample, ...] = ()
    next: str | None = None
    report: Report | None = None
    uploads: tuple[Upload, ...] = ()
    curations: tuple[Curation, ...] = ()

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why samples were skipped or failed, most frequent first."""
        if self.report is None:
            return []
        both = [*self.report.reasons.items(), *self.report.failures.items()]
        return sorted(both, key=lambda reason: (-reason[1], reason[0]))


def read(client: CocuClient, identifier: str, tab: str, query: SampleQuery) -> DatasetView:
    """Ask for what one tab shows."""
    dataset = client.datasets.get(identifier)
    if tab == "report":
        return DatasetView(dataset, tab, query, report=client.datasets.report(identifier))
    if tab == "uploads":
        uploads = client.datasets.uploads(identifier, limit=UPLOADS)
        return DatasetView(dataset, tab, query, uploads=tuple(uploads))
    if tab == "curations":
        listed = client.curations.list(dataset=identifier, order="-created_at", limit=UPLOADS)
        return DatasetView(dataset, tab, query, curations=tuple(listed))
    page = client.datasets.sample_page(
        identifier,
        caption=query.caption,
        order="row",
        row=query.row if query.after is None else None,
        cursor=query.after,
        limit=PICTURES,
    )
    return DatasetView(dataset, tab, query, samples=tuple(page.items), next=page.next)


async def show(request: Request) -> Response:
    """The page, on the tab of the query."""
    identifier = request.path_params["dataset"]
    tab = request.query_params.get("tab", "pictures")
    tab = tab if tab in TABS else "pictures"
    query = SampleQuery.read(request.query_params)
    view = await request.app.state.calls.run(lambda client: read(client, identifier, tab, query))
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "dataset.html",
        title=view.dataset.name,
        crumbs=[Crumb("Overview", "/"), Crumb(view.dataset.name)],
        view=view,
        tabs=TABS,
        links=links,
        endings=ENDINGS,
        retried=_retried(request.query_params.get("retried", "")),
    )


async def retry(request: Request) -> Response:
    """Retry what failed and may succeed now, and say what is tried again."""
    identifier = request.path_params["dataset"]
    retries = await request.app.state.calls.run(lambda client: client.datasets.retry(identifier))
    numbers = (len(retries.uploads), retries.rows, retries.samples, len(retries.unsent))
    query = [("tab", "uploads"), ("retried", ".".join(map(str, numbers)))]
    return RedirectResponse(links.with_query(links.dataset(identifier), query), status_code=303)


def _retried(text: str) -> str | None:
    """What was tried again, in words, from the numbers in the query; None where there are none."""
    numbers = [int(number) for number in text.split(".") if number.isdecimal() and len(number) < 10]
    if len(numbers) != len(RETRIED):
        return None
    parts = [
        f"{number:,} {noun if number == 1 else plural}"
        for number, (noun, plural) in zip(numbers, RETRIED, strict=True)
        if number
    ]
    return ", ".join(parts) or "nothing, because nothing that may succeed now has failed"
