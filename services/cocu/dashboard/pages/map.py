"""The map: every picture of a curation as a point, near those that look like it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import BadRequestError, CocuClient, InvalidInputError, NotFoundError
from cocu.dashboard import links
from cocu.dashboard.forms import form_of
from cocu.dashboard.links import ArchiveQuery, MapQuery
from cocu.dashboard.pages.archives import selection
from cocu.dashboard.pages.curation import crumbs
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import (
    ArchiveCard,
    ArchiveFacets,
    ConceptFrequency,
    Curation,
    Dataset,
    Projection,
    ProjectionMethods,
    Region,
)

LISTED: Final = 100
"""Projections of a dataset that are looked through, newest first."""
CARDS: Final = 6
TOP: Final = 12
CONCEPTS: Final = 20
"""Concepts by which the map can be coloured with one choice; any other can be typed."""
COLOURED: Final = 12
"""Regions with a colour; the others are grey."""
CATEGORIES: Final = 6
SEED: Final = 0


@dataclass(frozen=True)
class ShownRegion:
    """A region of the map. category: its colour, from 1 on; 0 is grey. is_ring: its points are rings."""

    region: Region
    category: int
    is_ring: bool

    @property
    def name(self) -> str:
        """Its most distinctive concepts, or its number where no curation has named them."""
        return " · ".join(self.region.label) or f"region {self.region.region}"

    @property
    def swatch(self) -> str:
        """The class of its colour."""
        return f"swatch-{self.category}" if self.category else "swatch-other"


@dataclass(frozen=True)
class SelectedPart:
    """What is selected on the map. refusal: why the platform does not take it."""

    query: ArchiveQuery
    facets: ArchiveFacets | None = None
    cards: tuple[ArchiveCard, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True)
class MapView:
    """What the page shows; a projection that is not finished, or none, in place of the map."""

    curation: Curation
    dataset: Dataset
    query: MapQuery
    projection: Projection | None = None
    is_absent: bool = False
    methods: ProjectionMethods | None = None
    regions: tuple[ShownRegion, ...] = ()
    concepts: tuple[ConceptFrequency, ...] = ()
    selected: SelectedPart | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is a map to show."""
        return self.projection is not None and self.projection.completed

    @property
    def share(self) -> float:
        """The part of the projection that is done."""
        return (
            min(1.0, self.projection.samples_done / self.embedded)
            if self.projection and self.embedded
            else 0.0
        )

    @property
    def embedded(self) -> int:
        """How many pictures of the projection the encoder has embedded."""
        return self.projection.samples - self.projection.left_out if self.projection else 0

    @property
    def same_method(self) -> str:
        """The method of the projection, or that which the platform has in its place."""
        if self.methods is None or self.projection is None:
            return ""
        known = self.projection.method in self.methods.methods
        return self.projection.method if known else self.methods.default

    @property
    def is_running(self) -> bool:
        """Whether a map is being made."""
        return self.projection is not None and not self.projection.finished


def read(client: CocuClient, identifier: str, query: MapQuery) -> MapView:
    """Ask for everything the page shows but the points, which the browser reads by itself."""
    curation = client.curations.get(identifier)
    dataset = client.datasets.get(curation.dataset)
    if not curation.completed:
        return MapView(curation, dataset, query)
    projection = _projection(client, curation, query.projection)
    if projection is None or not projection.completed:
        is_absent = projection is None and query.projection is not None
        methods = client.projections.methods()
        return MapView(curation, dataset, query, projection, is_absent=is_absent, methods=methods)
    if query.concept and not _has_concept(client, identifier, query.concept):
        note = f"This curation has no concept “{query.concept}”; regions are coloured."
        query = query.changed_to(color="region", notes=(*query.notes, note))
    return MapView(
        curation,
        dataset,
        query,
        projection,
        methods=None if projection.same_samples else client.projections.methods(),
        regions=coloured(projection.regions),
        concepts=tuple(client.concepts.list(identifier, order="added", limit=CONCEPTS)),
        selected=_selected(client, identifier, projection, query) if query.is_selected else None,
    )


async def show(request: Request) -> Response:
    """The page."""
    identifier = request.path_params["curation"]
    query = MapQuery.read(request.query_params)
    view = await request.app.state.calls.run(lambda client: read(client, identifier, query))
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "map.html",
        title=f"Map of {view.dataset.name}",
        crumbs=[*crumbs(view.dataset, view.curation), Crumb("Map")],
        view=view,
        links=links,
    )


async def make(request: Request) -> Response:
    """Ask for a projection of the dataset, and show how it is made.

    By the method of the form where the platform has it, else by the best that it has.
    """
    identifier = request.path_params["curation"]
    form = await form_of(request)
    wanted = form.get("method")

    def create(client: CocuClient) -> Projection:
        curation = client.curations.get(identifier)
        available = client.projections.methods()
        method = next((name for name in available.methods if name == wanted), available.default)
        return client.projections.create(curation.dataset, encoder=curation.encoder, method=method, seed=SEED)

    projection = await request.app.state.calls.run(create)
    return RedirectResponse(MapQuery(projection.id).url(identifier), status_code=303)


def coloured(regions: Sequence[Region]) -> tuple[ShownRegion, ...]:
    """The regions, largest first, the first of them with colours.

    Each colour is that of two regions at most, which lie as far from each other as can be had, and the points
    of the second one are rings.
    """
    ordered = sorted(regions, key=lambda region: (-region.pictures, region.region))
    owners: dict[int, list[Region]] = {number: [] for number in range(1, CATEGORIES + 1)}
    shown = []
    for region in ordered:
        free = [number for number, users in owners.items() if len(users) < COLOURED // CATEGORIES]
        if not free:
            shown.append(ShownRegion(region, category=0, is_ring=False))
            continue
        fewest = min(len(owners[number]) for number in free)
        category = max(
            (number for number in free if len(owners[number]) == fewest),
            key=lambda number: min((_distance(region, user) for user in owners[number]), default=0.0),
        )
        shown.append(ShownRegion(region, category, is_ring=bool(owners[category])))
        owners[category].append(region)
    return tuple(shown)


def _has_concept(client: CocuClient, identifier: str, name: str) -> bool:
    try:
        client.concepts.get(identifier, name, limit=1)
    except (NotFoundError, BadRequestError, InvalidInputError):
        return False
    return True


def _distance(first: Region, second: Region) -> float:
    return math.hypot(first.x - second.x, first.y - second.y)


def _projection(client: CocuClient, curation: Curation, identifier: str | None) -> Projection | None:
    """The projection that is asked for; else the newest with the curation's encoder and samples, completed
    ones first. Where none has its samples, the newest that is completed: the page says so.
    """
    if identifier is not None:
        try:
            return client.projections.get(curation.dataset, identifier, curation=curation.id)
        except (NotFoundError, BadRequestError, InvalidInputError):
            return None
    newest = _newest(client, curation, samples_of=curation.id) or _newest(client, curation)
    # Lists leave the regions out.
    return client.projections.get(curation.dataset, newest.id, curation=curation.id) if newest else None


def _newest(client: CocuClient, curation: Curation, *, samples_of: str | None = None) -> Projection | None:
    listed = islice(client.projections.list(curation.dataset, curation=samples_of), LISTED)
    own = [projection for projection in listed if projection.encoder_hash == curation.encoder_hash]
    if samples_of is None:
        own = [projection for projection in own if projection.completed]
    return max(own, key=lambda projection: (projection.completed, projection.created_at), default=None)


def _selected(client: CocuClient, identifier: str, projection: Projection, query: MapQuery) -> SelectedPart:
    part = ArchiveQuery(projection=projection.id, lasso=query.lasso, region=query.region)
    try:
        return SelectedPart(
            part,
            facets=client.archives.facets(identifier, **selection(part), top=TOP),
            cards=tuple(
                client.archives.card_page(identifier, **selection(part), order="-gain", limit=CARDS).items
            ),
        )
    except (BadRequestError, InvalidInputError) as error:
        return SelectedPart(part, refusal=error.problem.detail)
