"""A vocabulary: its concepts, what people said about them, and its next version."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import CocuClient, NotFoundError
from cocu.dashboard import links
from cocu.dashboard.forms import form_of
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import Concept, Curation, Dataset, Feedback, Vocabulary

CONCEPTS = 50
"""Concepts of a page."""
NOTES = 1000
"""Notes listed; of more the page says that they are left out."""
RECENT = 200
"""Curations among which those with this vocabulary are looked for."""


@dataclass(frozen=True)
class VocabularyView:
    """What the page of a vocabulary shows.

    curation: the latest completed one with it. dataset: what to curate with it. is_kept: whether it cannot be
    deleted, as far as the recent curations say.
    """

    vocabulary: Vocabulary
    concepts: tuple[Concept, ...]
    next: str | None
    prefix: str
    after: str
    notes: tuple[Feedback, ...]
    has_more_notes: bool
    curation: Curation | None
    dataset: Dataset | None
    is_kept: bool

    @property
    def changes(self) -> int:
        """How many notes change the next version."""
        return sum(note.action != "allow" for note in self.notes)


def read(client: CocuClient, identifier: str, *, dataset: str, prefix: str, after: str) -> VocabularyView:
    """Ask for everything the page shows."""
    vocabulary = client.vocabularies.get(identifier)
    page = client.vocabularies.concept_page(
        vocabulary.id, prefix=prefix or None, cursor=after or None, limit=CONCEPTS
    )
    notes = list(client.feedback.list(vocabulary.id, limit=NOTES + 1, page_size=NOTES))
    recent = islice(client.curations.list(order="-created_at", page_size=RECENT), RECENT)
    users = [curation for curation in recent if curation.vocabulary == vocabulary.id]
    curation = next((curation for curation in users if curation.completed), None)
    return VocabularyView(
        vocabulary=vocabulary,
        concepts=tuple(page.items),
        next=page.next,
        prefix=prefix,
        after=after,
        notes=tuple(notes[:NOTES]),
        has_more_notes=len(notes) > NOTES,
        curation=curation,
        dataset=_dataset(client, dataset or (curation.dataset if curation else "")),
        is_kept=bool(users) or vocabulary.source == "shipped",
    )


async def show(request: Request) -> Response:
    """The page."""
    identifier, query = request.path_params["vocabulary"], request.query_params
    view = await request.app.state.calls.run(
        lambda client: read(
            client,
            identifier,
            dataset=query.get("dataset", ""),
            prefix=query.get("prefix", "").strip()[:400],
            after=query.get("after", ""),
        )
    )
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "vocabulary.html",
        title=f"Vocabulary {view.vocabulary.name}",
        crumbs=[Crumb("Overview", "/"), Crumb(view.vocabulary.name)],
        view=view,
        links=links,
    )


async def change(request: Request) -> Response:
    """Make the next version and go to it, or undo a note and show the page again."""
    identifier = request.path_params["vocabulary"]
    form = await form_of(request)
    dataset = str(form.get("dataset", ""))
    undone = form.get("undo")
    run = request.app.state.calls.run
    if isinstance(undone, str):
        await run(lambda client: client.feedback.undo(identifier, undone))
        following = identifier
    else:
        following = (await run(lambda client: client.vocabularies.next_version(identifier))).id
    return RedirectResponse(links.vocabulary(following, dataset_id=dataset), status_code=303)


def _dataset(client: CocuClient, identifier: str) -> Dataset | None:
    try:
        return client.datasets.get(identifier) if identifier else None
    except NotFoundError:
        return None
