"""`cocu concepts` and `cocu compare`: what a curation did to concepts, and what two do differently."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, cast

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.client import CocuClient
from cocu.client.models import Comparison, ConceptChange, ConceptDetail, ConceptOrder, SampleChange

CurationArgument = Annotated[str, typer.Argument(help="Id of the curation.")]
MOST_SHOWN = 6


def concepts(
    *,
    curation: CurationArgument,
    concept: Annotated[
        str | None,
        typer.Argument(
            help="Look at this one: what it occurs with, where it scores best.", show_default=False
        ),
    ] = None,
    order: Annotated[str, typer.Option(help="archives, captions, added or concept.")] = "archives",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The most concepts to show.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show how often concepts occur in captions (before) and in archives (after), or one concept closely."""
    with CocuClient(server, api_key) as client:
        if concept is not None:
            detail = client.concepts.get(curation, concept, limit=min(limit, 100))
            _show(detail, _detail(detail), json)
            return
        listed = client.concepts.list(curation, order=cast(ConceptOrder, order), limit=min(limit, 1000))
        found = list(islice(listed, limit))
    if json:
        print_json(found)
        return
    rows = [(escape(each.concept), each.captions, each.archives, each.added) for each in found]
    console.print(table(None, ("concept", "captions", "archives", "added"), rows))


def compare(
    *,
    first: Annotated[str, typer.Argument(help="Id of a curation.")],
    second: Annotated[str, typer.Argument(help="Id of another of the same dataset.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most concepts and samples to show.")] = 10,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Compare two curations of a dataset: concepts gained and lost, samples that changed most."""
    with CocuClient(server, api_key) as client:
        found = client.comparisons.get(first, second)
        changes = list(islice(client.comparisons.concepts(first, second, limit=limit), limit))
        samples = list(islice(client.comparisons.samples(first, second, limit=limit), limit))
    if json:
        print_json({**found.model_dump(mode="json"), "concepts": changes, "changed_most": samples})
        return
    for part in _comparison(found, changes, samples):
        console.print(part)


def _show(detail: ConceptDetail, parts: Iterator[RenderableType], json: bool) -> None:
    if json:
        print_json(detail)
        return
    for part in parts:
        console.print(part)


def _detail(detail: ConceptDetail) -> Iterator[RenderableType]:
    yield Text.from_markup(
        f"[bold]{escape(detail.concept)}[/]: {count(detail.captions, 'caption')}, "
        f"{count(detail.archives, 'archive')}, {detail.added:,} of them without the caption naming it"
    )
    company = [(escape(each.concept), each.archives, f"{each.lift:.2f}") for each in detail.co_occurring]
    yield table("Occurs with", ("concept", "archives", "lift"), company)
    best = [
        (escape(each.key), f"{each.score:.3f}", "added" if each.added else "named", _caption(each.caption))
        for each in detail.samples
    ]
    yield table("Scores best in", ("key", "score", "", "caption"), best)


def _comparison(
    found: Comparison, changes: list[ConceptChange], samples: list[SampleChange]
) -> Iterator[RenderableType]:
    correlation = "–" if found.rank_correlation is None else f"{found.rank_correlation:.3f}"
    yield Text.from_markup(
        f"[bold]{found.samples_changed:,}[/] of {count(found.samples, 'sample')} changed; mean change "
        f"{found.change:.3f}, rank correlation of shared concepts {correlation}"
    )
    yield Text(f"{found.shared:,} concepts shared, {found.gained:,} gained, {found.lost:,} lost")
    if found.only_in_first or found.only_in_second:
        yield Text(
            f"{found.only_in_first:,} samples only in the first, {found.only_in_second:,} in the second"
        )
    if changes:
        rows = [(escape(each.concept), each.first, each.second, each.gained, each.lost) for each in changes]
        yield table("Concepts", ("concept", "first", "second", "gained", "lost"), rows)
    if samples:
        yield table("Changed most", ("key", "change", "gained", "lost"), [_change(each) for each in samples])


def _change(sample: SampleChange) -> tuple[str, ...]:
    return (
        escape(sample.key),
        f"{sample.change:.3f}",
        escape(", ".join(sample.gained[:MOST_SHOWN])),
        escape(", ".join(sample.lost[:MOST_SHOWN])),
    )


def _caption(text: str) -> str:
    return escape(" ".join(text.split()))
