"""The concepts of a vocabulary as text, to be changed and sent as a new one; and deleting a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.client import CocuClient, ConflictError, InvalidInputError, TooLargeError
from cocu.dashboard import links
from cocu.dashboard.forms import explain, form_of, sentence, text_of
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import Curation, Vocabulary

MAX_CONCEPTS = 20_000
"""Concepts of a vocabulary whose text is edited in a browser."""
MAX_TEXT_BYTES = 64 << 20
"""A text that is larger is not read; the platform may take less."""

MAX_USERS = 10
"""Curations that are named where they keep a vocabulary from being deleted."""


@dataclass(frozen=True)
class VocabularyTextView:
    """What the editor shows. text: None where there is none, for this reason: `problem`."""

    vocabulary: Vocabulary
    name: str
    text: str | None
    problem: str = ""


def read(client: CocuClient, identifier: str) -> VocabularyTextView:
    """Ask for a vocabulary and its text, a concept a line."""
    vocabulary = client.vocabularies.get(identifier)
    text, problem = None, ""
    if vocabulary.concepts > MAX_CONCEPTS:
        problem = f"A vocabulary of more than {MAX_CONCEPTS:,} concepts is too long for a browser."
    else:
        try:
            text = client.vocabularies.document(vocabulary.id, format="text")
        except ConflictError as error:
            problem = f"{error.problem.detail[:1].upper()}{error.problem.detail[1:]}."
    return VocabularyTextView(vocabulary, vocabulary.name, text, problem)


async def show(request: Request) -> Response:
    """The editor."""
    identifier = request.path_params["vocabulary"]
    view = await request.app.state.calls.run(lambda client: read(client, identifier))
    return _render(request, view, dataset=request.query_params.get("dataset", ""))


async def save(request: Request) -> Response:
    """Make a vocabulary of the text and go to it; where it is wrong, the editor says what and keeps it."""
    identifier, run = request.path_params["vocabulary"], request.app.state.calls.run
    form = await form_of(request, field_bytes=MAX_TEXT_BYTES)
    # Browsers send other ends of lines than they got, and the version is a hash of the text.
    text = text_of(form, "text", strip=False).replace("\r\n", "\n")
    name, dataset = text_of(form, "name"), text_of(form, "dataset")
    before = await run(lambda client: read(client, identifier))
    if text == before.text and name in {"", before.name}:
        return RedirectResponse(links.vocabulary(identifier, dataset_id=dataset), status_code=303)
    try:
        made = await run(
            lambda client: client.vocabularies.from_text(text, name=name or before.vocabulary.name)
        )
    except (InvalidInputError, TooLargeError, ValidationError) as error:
        view = VocabularyTextView(before.vocabulary, name, text, explain(error))
        status = 413 if isinstance(error, TooLargeError) else 422
        return _render(request, view, dataset=dataset, status=status)
    return RedirectResponse(links.vocabulary(made.id, dataset_id=dataset), status_code=303)


async def ask(request: Request) -> Response:
    """The page that asks whether to delete a vocabulary."""
    return await _ask(request)


async def delete(request: Request) -> Response:
    """Delete it, and go to the overview; where it cannot be deleted, the page says why."""
    identifier = request.path_params["vocabulary"]
    try:
        await request.app.state.calls.run(lambda client: client.vocabularies.delete(identifier))
    except ConflictError as error:
        return await _ask(request, sentence(error.problem.detail))
    return RedirectResponse("/", status_code=303)


async def _ask(request: Request, refusal: str = "") -> Response:
    """The question, or why there is none: the curations that use the vocabulary, the platform's refusal."""
    identifier = request.path_params["vocabulary"]

    def read_users(client: CocuClient) -> tuple[Vocabulary, tuple[Curation, ...]]:
        vocabulary = client.vocabularies.get(identifier)
        listed = client.curations.list(order="-created_at")
        users = (curation for curation in listed if curation.vocabulary == vocabulary.id)
        return vocabulary, tuple(islice(users, MAX_USERS))

    vocabulary, users = await request.app.state.calls.run(read_users)
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "vocabulary_delete.html",
        status=409 if refusal else 200,
        title=f"Delete vocabulary {vocabulary.name}",
        crumbs=_crumbs(vocabulary, "Delete"),
        vocabulary=vocabulary,
        users=users,
        max_users=MAX_USERS,
        refusal=refusal,
        links=links,
    )


def _render(request: Request, view: VocabularyTextView, *, dataset: str, status: int = 200) -> Response:
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "vocabulary_text.html",
        status=status,
        title=f"Edit vocabulary {view.vocabulary.name}",
        crumbs=_crumbs(view.vocabulary, "Edit"),
        view=view,
        dataset=dataset,
        links=links,
    )


def _crumbs(vocabulary: Vocabulary, here: str) -> list[Crumb]:
    return [Crumb("Overview", "/"), Crumb(vocabulary.name, links.vocabulary(vocabulary.id)), Crumb(here)]
