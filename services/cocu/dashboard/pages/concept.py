"""A concept in a curation: where it is right, where it is wrong, and what changing it would do."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.dashboard import links
from cocu.dashboard.forms import author_of, explain, form_of, remember_author, text_of
from cocu.dashboard.links import ArchiveQuery
from cocu.dashboard.pages.curation import crumbs
from cocu.dashboard.plots import Bar, Histogram, bars
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.http.paths import decode_segment
from cocu.schemas import ArchiveCard, ConceptDetail, Curation, Dataset, Effect, Feedback

CARDS = 6
"""Cards of a strip."""
LISTED = 8
"""Concepts that it occurs with, and concepts near in meaning."""


@dataclass(frozen=True)
class Strip:
    """Some archives with the concept; query: the grid with all of them."""

    title: str
    hint: str
    count: int
    query: ArchiveQuery
    cards: tuple[ArchiveCard, ...]


@dataclass(frozen=True)
class ConceptView:
    """What the page of a concept shows; merge: the effect of merging it into what was asked for."""

    curation: Curation
    dataset: Dataset
    detail: ConceptDetail
    strips: tuple[Strip, ...]
    histogram: Histogram | None
    note: Feedback | None
    block: Effect
    merge: Effect | None
    into: str
    problem: str

    def beyond(self, bar: Bar) -> ArchiveQuery:
        """The archives where it was added with the scores of a bar, or higher ones."""
        return ArchiveQuery(concepts=(self.detail.concept,), where="added", min_score=bar.low, order="score")


def read(client: CocuClient, identifier: str, name: str, into: str, problem: str = "") -> ConceptView:
    """Ask for everything the page shows. problem: why the last note was not taken."""
    curation = client.curations.get(identifier)
    detail = client.concepts.get(identifier, name, limit=LISTED)
    merge, unknown = _merge(client, identifier, detail.concept, into)
    return ConceptView(
        curation=curation,
        dataset=client.datasets.get(curation.dataset),
        detail=detail,
        strips=_strips(client, identifier, detail),
        histogram=bars(detail.histogram.edges, detail.histogram.counts),
        note=_note(client, curation.vocabulary, detail.concept),
        block=client.concepts.effect(identifier, "block", detail.concept),
        merge=merge,
        into=into,
        problem=problem or unknown,
    )


async def show(request: Request) -> Response:
    """The page; `into` asks for the effect of a merge."""
    identifier, name = request.path_params["curation"], _name(request)
    into = request.query_params.get("into", "").strip()
    view = await request.app.state.calls.run(lambda client: read(client, identifier, name, into))
    return _render(request, view, note=request.query_params.get("note", ""))


async def give_feedback(request: Request) -> Response:
    """Keep or undo a note about the concept, and show the page again."""
    identifier, name = request.path_params["curation"], _name(request)
    form = await form_of(request)
    run = request.app.state.calls.run
    try:
        concept = await run(lambda client: _say(client, identifier, name, form))
    except (InvalidInputError, ValidationError) as error:
        problem, into = explain(error), text_of(form, "into")
        view = await run(lambda client: read(client, identifier, name, into, problem))
        return _render(request, view, note=text_of(form, "note"), status=422)
    response = RedirectResponse(links.concept(identifier, concept), status_code=303)
    remember_author(response, form)
    return response


def _render(request: Request, view: ConceptView, *, note: str, status: int = 200) -> Response:
    """The page. note: what was written and is not sent yet."""
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "concept.html",
        status=status,
        title=f"{view.detail.concept} in {view.dataset.name}",
        crumbs=[*crumbs(view.dataset, view.curation), Crumb(view.detail.concept)],
        view=view,
        links=links,
        page=links.concept(view.curation.id, view.detail.concept),
        note=note,
        author=author_of(request),
    )


def _say(client: CocuClient, identifier: str, name: str, form: FormData) -> str:
    """Send what a form says to the vocabulary of the curation; return the concept's name."""
    vocabulary = client.curations.get(identifier).vocabulary
    concept = client.concepts.get(identifier, name, limit=1).concept
    note, author = text_of(form, "note") or None, text_of(form, "author") or None
    action = text_of(form, "action")
    if action == "merge":
        client.feedback.merge(vocabulary, concept, text_of(form, "into"), note=note, author=author)
    elif action == "allow":
        client.feedback.allow(vocabulary, concept, note=note, author=author)
    elif action == "block":
        client.feedback.block(vocabulary, concept, note=note, author=author)
    elif action == "undo":
        client.feedback.undo(vocabulary, concept)
    else:
        raise HTTPException(422, "A form says block, allow, merge or undo")
    return concept


def _strips(client: CocuClient, identifier: str, detail: ConceptDetail) -> tuple[Strip, ...]:
    asked = ArchiveQuery(concepts=(detail.concept,))
    named, gained = asked.changed_to(where="caption"), asked.changed_to(where="added")
    in_caption = detail.archives - detail.added
    strips = (
        ("In the caption", "somebody named it", in_caption, named.changed_to(order="-score")),
        ("Gained, best", "nobody named it", detail.added, gained.changed_to(order="-score")),
        ("Gained, lowest", "where errors are", detail.added, gained.changed_to(order="score")),
    )
    return tuple(
        Strip(
            title,
            hint,
            count,
            query,
            tuple(
                client.archives.card_page(
                    identifier, concept=detail.concept, added=query.added, order=query.order, limit=CARDS
                ).items
            ),
        )
        for title, hint, count, query in strips
    )


def _merge(client: CocuClient, identifier: str, concept: str, into: str) -> tuple[Effect | None, str]:
    if not into:
        return None, ""
    try:
        return client.concepts.effect(identifier, "merge", concept, into=into), ""
    except InvalidInputError:
        return None, f"“{into}” is no other concept of this vocabulary."


def _note(client: CocuClient, vocabulary: str, concept: str) -> Feedback | None:
    try:
        return client.feedback.get(vocabulary, concept)
    except NotFoundError:
        return None


def _name(request: Request) -> str:
    return decode_segment(request.path_params["concept"])
