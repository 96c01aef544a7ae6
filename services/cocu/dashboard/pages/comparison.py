"""Two curations of one dataset side by side: what the second gained and lost."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from cocu.client import CocuClient
from cocu.dashboard import links
from cocu.dashboard.pages.curation import crumbs
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import Comparison, ConceptChange, Curation, Dataset, SampleChange

CONCEPTS = 40
SAMPLES = 60


@dataclass(frozen=True)
class ComparisonView:
    """What the page of a comparison shows; without a second curation, those to choose from."""

    dataset: Dataset
    first: Curation
    others: tuple[Curation, ...]
    second: Curation | None = None
    comparison: Comparison | None = None
    concepts: tuple[ConceptChange, ...] = ()
    samples: tuple[SampleChange, ...] = ()

    @property
    def parameters(self) -> list[tuple[str, object, object]]:
        """The parameters in which the two differ: (name, first, second)."""
        if self.second is None:
            return []
        names = sorted({*self.first.parameters, *self.second.parameters})
        values = [(name, self.first.parameters.get(name), self.second.parameters.get(name)) for name in names]
        values.append(("vocabulary", self.first.vocabulary, self.second.vocabulary))
        values.append(("encoder", self.first.encoder_hash, self.second.encoder_hash))
        values.append(("snapshot", self.first.snapshot, self.second.snapshot))
        return [value for value in values if value[1] != value[2]]


def read(client: CocuClient, first_id: str, second_id: str | None) -> ComparisonView:
    """Ask for a comparison, or for the curations that one may be compared with."""
    first = client.curations.get(first_id)
    dataset = client.datasets.get(first.dataset)
    listed = client.curations.list(dataset=first.dataset, order="-created_at", limit=100)
    others = tuple(curation for curation in listed if curation.completed and curation.id != first.id)
    if second_id is None:
        return ComparisonView(dataset, first, others)
    return ComparisonView(
        dataset,
        first,
        others,
        second=client.curations.get(second_id),
        comparison=client.comparisons.get(first_id, second_id),
        concepts=tuple(client.comparisons.concepts(first_id, second_id, limit=CONCEPTS)),
        samples=tuple(client.comparisons.samples(first_id, second_id, limit=SAMPLES)),
    )


async def show(request: Request) -> Response:
    """The page."""
    first, second = request.path_params["curation"], request.path_params.get("other")
    view = await request.app.state.calls.run(lambda client: read(client, first, second))
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "comparison.html",
        title="Compare",
        crumbs=[*crumbs(view.dataset, view.first), Crumb("Compare")],
        view=view,
        links=links,
    )
