"""Cancelling a curation: asked once, on a page of its own, so that it needs no script."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import CocuClient
from cocu.dashboard import links
from cocu.dashboard.pages.curation import crumbs
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import Curation, Dataset


def read(client: CocuClient, identifier: str) -> tuple[Curation, Dataset]:
    """Ask for a curation and its dataset."""
    curation = client.curations.get(identifier)
    return curation, client.datasets.get(curation.dataset)


async def ask(request: Request) -> Response:
    """The page that asks; of a curation that has ended, its own page."""
    identifier = request.path_params["curation"]
    curation, dataset = await request.app.state.calls.run(lambda client: read(client, identifier))
    if curation.finished:
        return RedirectResponse(links.curation(identifier), status_code=303)
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "cancel.html",
        title=f"Cancel the curation of {dataset.name}",
        crumbs=[*crumbs(dataset, curation), Crumb("Cancel")],
        curation=curation,
        dataset=dataset,
        links=links,
    )


async def cancel(request: Request) -> Response:
    """Cancel it, and go to its page."""
    identifier = request.path_params["curation"]
    await request.app.state.calls.run(lambda client: client.curations.cancel(identifier))
    return RedirectResponse(links.curation(identifier), status_code=303)
