"""The grid of archives: a page of cards, the counts beside it, filters and orders as links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from cocu.client import BadRequestError, CocuClient, InvalidInputError
from cocu.client.archives import ArchiveFilters
from cocu.dashboard import links
from cocu.dashboard.links import ArchiveQuery
from cocu.dashboard.pages.curation import crumbs
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import ArchiveCard, ArchiveFacets, Curation, Dataset, Histogram

CARDS = 60
"""Cards of a page."""
LABEL_SETS = 50
"""Labels that can be chosen from."""
TOP = 20
"""Concepts counted beside the grid."""
_NO_VALUES: Final = Histogram(edges=[], counts=[])
_NOTHING: Final = ArchiveFacets(total=0, concepts=[], best_added=_NO_VALUES, gain=_NO_VALUES)


@dataclass(frozen=True)
class Grid:
    """What the grid shows.

    label_sets: names of labels that the dataset keeps. refusal: why the platform does not take these filters;
    then there is no card.
    """

    curation: Curation
    dataset: Dataset
    query: ArchiveQuery
    cards: tuple[ArchiveCard, ...]
    facets: ArchiveFacets
    next: str | None
    label_sets: tuple[str, ...] = ()
    refusal: str | None = None


def selection(query: ArchiveQuery) -> ArchiveFilters:
    """The filters of a query, as the client takes them."""
    return {
        "concept": query.concepts,
        "added": query.added,
        "min_score": query.min_score,
        "changed": query.changed,
        "projection": query.projection,
        "lasso": query.lasso,
        "region": query.region,
        "labels": query.labels,
        "verdict": query.verdict,
    }


def label_names(client: CocuClient, dataset_id: str) -> tuple[str, ...]:
    """The names of labels that a dataset keeps: the first LABEL_SETS."""
    return tuple(labels.name for labels in client.labels.list(dataset_id, limit=LABEL_SETS))


def read(client: CocuClient, identifier: str, query: ArchiveQuery) -> Grid:
    """Ask for a page of cards and the counts of all that is selected."""
    curation = client.curations.get(identifier)
    dataset = client.datasets.get(curation.dataset)
    label_sets = label_names(client, dataset.id)
    try:
        page = client.archives.card_page(
            identifier, **selection(query), order=query.order, cursor=query.after, limit=CARDS
        )
    except (BadRequestError, InvalidInputError) as error:
        # A concept that the vocabulary lacks, for one: the form stays, to be corrected.
        return Grid(
            curation,
            dataset,
            query,
            cards=(),
            facets=_NOTHING,
            next=None,
            label_sets=label_sets,
            refusal=error.problem.detail,
        )
    return Grid(
        curation=curation,
        dataset=dataset,
        query=query,
        cards=tuple(page.items),
        facets=client.archives.facets(identifier, **selection(query), top=TOP),
        next=page.next,
        label_sets=label_sets,
    )


async def show(request: Request) -> Response:
    """The page."""
    identifier = request.path_params["curation"]
    query = ArchiveQuery.read(request.query_params)
    view = await request.app.state.calls.run(lambda client: read(client, identifier, query))
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "archives.html",
        title=f"Archives of {view.dataset.name}",
        crumbs=[*crumbs(view.dataset, view.curation), Crumb("Archives")],
        view=view,
        links=links,
        orders={
            order: text
            for order, text in links.ORDERS.items()
            if query.concepts or order not in links.OF_A_CONCEPT
        },
    )
