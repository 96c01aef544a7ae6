"""A curation: what it changed, how good it is where labels tell, and what exactly it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cocu.client import CocuClient
from cocu.dashboard import links
from cocu.dashboard.pages import training
from cocu.dashboard.plots import Curve, Histogram, bars, rank_frequency
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import (
    ArchiveFacets,
    ConceptFrequency,
    Curation,
    Dataset,
    Evaluation,
    JudgementSummary,
    TaskFailure,
)

GAINS = 12
FAILURES = 20
"""Failed tasks that are shown."""
RANKED = 1000
"""Concepts of the plot of ranks and frequencies: the most frequent ones."""


@dataclass(frozen=True)
class CurationView:
    """What the page of a curation shows; figures and plots only when it is completed."""

    curation: Curation
    dataset: Dataset
    facets: ArchiveFacets | None = None
    gains: tuple[ConceptFrequency, ...] = ()
    frequencies: tuple[Curve, ...] = ()
    gain_bars: Histogram | None = None
    best_added_bars: Histogram | None = None
    evaluations: tuple[Evaluation, ...] = ()
    audit: JudgementSummary | None = None
    failures: tuple[TaskFailure, ...] = ()
    more_failures: bool = False

    @property
    def statistics(self) -> dict[str, Any]:
        """What the curation counted."""
        return self.curation.statistics or {}

    @property
    def gained(self) -> float | None:
        """The share of pictures whose archive has a concept that the caption lacks."""
        if self.facets is None or not self.curation.samples:
            return None
        return sum(self.facets.best_added.counts) / self.curation.samples

    @property
    def request(self) -> str:
        """The body of the request that asks for this curation, to copy."""
        body = {
            "vocabulary": self.curation.vocabulary,
            "encoder": self.curation.encoder,
            "parameters": self.curation.parameters,
        }
        return json.dumps(body, indent=2, sort_keys=True)


def read(client: CocuClient, identifier: str) -> CurationView:
    """Ask for everything the page shows."""
    curation = client.curations.get(identifier)
    dataset = client.datasets.get(curation.dataset)
    failures: tuple[TaskFailure, ...] = ()
    if curation.state != "completed":
        failures = tuple(client.curations.failures(identifier, limit=FAILURES + 1))
    if not curation.completed:
        return CurationView(
            curation, dataset, failures=failures[:FAILURES], more_failures=len(failures) > FAILURES
        )
    facets = client.archives.facets(identifier, top=20)
    by_archives = list(islice(client.concepts.list(identifier, order="archives", page_size=RANKED), RANKED))
    by_captions = list(islice(client.concepts.list(identifier, order="captions", page_size=RANKED), RANKED))
    return CurationView(
        curation,
        dataset,
        facets=facets,
        gains=tuple(client.concepts.list(identifier, order="added", limit=GAINS)),
        frequencies=rank_frequency(
            captions=[concept.captions for concept in by_captions],
            archives=[concept.archives for concept in by_archives],
        ),
        gain_bars=bars(facets.gain.edges, facets.gain.counts),
        best_added_bars=bars(facets.best_added.edges, facets.best_added.counts),
        evaluations=tuple(client.evaluations.list(identifier, limit=5)),
        audit=_audit(client, identifier),
        failures=failures[:FAILURES],
        more_failures=len(failures) > FAILURES,
    )


async def show(request: Request) -> Response:
    """The page."""
    identifier = request.path_params["curation"]
    view = await request.app.state.calls.run(lambda client: read(client, identifier))
    trained = await training.runs_of(request, identifier) if view.curation.completed else None
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "curation.html",
        title=f"Curation of {view.dataset.name}",
        crumbs=crumbs(view.dataset, view.curation, is_last=True),
        view=view,
        trained=trained,
        links=links,
    )


def crumbs(dataset: Dataset, curation: Curation, *, is_last: bool = False) -> list[Crumb]:
    """The way to a curation."""
    return [
        Crumb("Overview", "/"),
        Crumb(dataset.name, links.dataset(dataset.id)),
        Crumb(curation.id[:8], None if is_last else links.curation(curation.id)),
    ]


def _audit(client: CocuClient, identifier: str) -> JudgementSummary | None:
    """What judgements say; None without any, so that nothing is computed for an audit that nobody began."""
    if not list(client.judgements.list(identifier, limit=1)):
        return None
    return client.judgements.summary(identifier, precision=links.WISHED_PRECISION)
