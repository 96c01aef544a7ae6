"""`cocu vocabulary block`, `allow`, `merge`, `undo`, `feedback` and `next`, and `cocu effect`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server, Temperature, TextsPerSample
from cocu.cli.output import console, count, print_json, table
from cocu.client import CocuClient
from cocu.schemas import DrawSampler, EarlierFeedback, Effect, Feedback, FeedbackAction

VocabularyArgument = Annotated[str, typer.Argument(help="Id or name of the vocabulary.")]
ConceptArgument = Annotated[str, typer.Argument(help="A concept, by its name or another form.")]
Note = Annotated[str | None, typer.Option(help="Why.", show_default=False)]
Author = Annotated[str | None, typer.Option(help="Who says it.", show_default=False)]


def block(
    *,
    vocabulary: VocabularyArgument,
    concept: ConceptArgument,
    note: Note = None,
    author: Author = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Leave a concept out of the next version of a vocabulary."""
    with CocuClient(server, api_key) as client:
        _print_note(client.feedback.block(vocabulary, concept, note=note, author=author), json=json)


def allow(
    *,
    vocabulary: VocabularyArgument,
    concept: ConceptArgument,
    note: Note = None,
    author: Author = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Keep a concept, and note that somebody looked at it."""
    with CocuClient(server, api_key) as client:
        _print_note(client.feedback.allow(vocabulary, concept, note=note, author=author), json=json)


def merge(
    *,
    vocabulary: VocabularyArgument,
    concept: ConceptArgument,
    into: Annotated[str, typer.Argument(help="The concept that gets its forms.")],
    note: Note = None,
    author: Author = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Give the forms of a concept to another in the next version of a vocabulary."""
    with CocuClient(server, api_key) as client:
        _print_note(client.feedback.merge(vocabulary, concept, into, note=note, author=author), json=json)


def undo(
    *,
    vocabulary: VocabularyArgument,
    concept: ConceptArgument,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
) -> None:
    """Forget what was said about a concept."""
    with CocuClient(server, api_key) as client:
        client.feedback.undo(vocabulary, concept)
    console.print(f"nothing is said about {concept} now", markup=False)


def feedback(
    *,
    vocabulary: VocabularyArgument,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List what was said about concepts of a vocabulary."""
    with CocuClient(server, api_key) as client:
        notes = list(client.feedback.list(vocabulary, page_size=1000))
    if json:
        print_json(notes)
        return
    rows = [
        (
            escape(note.concept),
            escape(_describe(note)),
            escape(note.author or "–"),
            f"{note.created_at:%Y-%m-%d %H:%M}",
            escape(note.note or ""),
        )
        for note in notes
    ]
    console.print(table(None, ("concept", "feedback", "by", "at (UTC)", "note"), rows))


def next_version(
    *,
    vocabulary: VocabularyArgument,
    name: Annotated[str | None, typer.Option(help="Another name.", show_default=False)] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Make the next version of a vocabulary from what was said about it; print its id."""
    with CocuClient(server, api_key) as client:
        before = client.vocabularies.get(vocabulary)
        after = client.vocabularies.next_version(vocabulary, name=name)
    if json:
        print_json(after)
        return
    print(after.id)
    if after.id == before.id:
        console.print("nothing to change: no concept is blocked or merged")
        return
    console.print(f"{before.concepts:,} concepts before, {after.concepts:,} now", highlight=False)


def effect(
    *,
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    action: Annotated[FeedbackAction, typer.Argument(help="block, merge or allow.")],
    concept: ConceptArgument,
    into: Annotated[
        str | None, typer.Argument(help="Of a merge: the concept that it becomes.", show_default=False)
    ] = None,
    concepts: TextsPerSample = 3,
    sampler: Annotated[DrawSampler, typer.Option(help="How concepts are drawn.")] = "cluster",
    temperature: Temperature = 1.0,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show what feedback about a concept would change in a curation; nothing is stored."""
    with CocuClient(server, api_key) as client:
        answer = client.concepts.effect(
            curation,
            action,
            concept,
            into=into,
            concepts=concepts,
            sampler=sampler,
            temperature=temperature,
        )
    if json:
        print_json(answer)
        return
    console.print(_effect(answer))


def _effect(answer: Effect) -> Text:
    draws = answer.draws
    share = "no draw" if not draws.share else f"{draws.share:.2%} of draws"
    measured = "" if draws.measured == answer.archives else f", by {draws.measured:,} of these archives"
    emptied = f", {answer.emptied:,} of them have no concept then" if answer.emptied else ""
    return Text(
        f"{count(answer.archives, 'archive')} changed ({answer.added:,} where it was added), "
        f"{answer.shrunk:,} with a concept less{emptied}; {share} changed{measured}"
    )


def _print_note(note: Feedback, *, json: bool) -> None:
    if json:
        print_json(note)
        return
    console.print(f"{note.concept}: {_describe(note)}", markup=False)
    if note.replaced is not None:
        author = "" if note.replaced.author is None else f" by {note.replaced.author}"
        when = f"{note.replaced.created_at:%Y-%m-%d %H:%M}"
        console.print(f"before: {_describe(note.replaced)}{author}, {when}", markup=False)


def _describe(note: EarlierFeedback) -> str:
    return f"merge into {note.into}" if note.action == "merge" else note.action
