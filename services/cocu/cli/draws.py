"""`cocu draws`: what a trainer sees of one sample, epoch by epoch, and how likely each concept is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.batches import Sampler
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Raw, Server, Temperature, TextsPerSample
from cocu.cli.output import console, count, print_json, table
from cocu.client import CocuClient
from cocu.schemas import ArchiveDraws, ConceptChance, EpochDraw


def draws(
    *,
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    key: Annotated[str, typer.Argument(help="Key of the sample.")],
    seed: Annotated[int, typer.Option(min=0, help="Changes the concepts drawn.")] = 0,
    epoch: Annotated[int, typer.Option(min=0, help="The first epoch to show.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, max=20, help="How many epochs to show.")] = 5,
    concepts: TextsPerSample = 3,
    sampler: Annotated[Sampler, typer.Option(help="Where concepts are drawn from.")] = "cluster",
    temperature: Temperature = 1.0,
    raw: Raw = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show what a trainer sees of one sample, and how likely each concept of its archive is drawn."""
    with CocuClient(server, api_key) as client:
        answer = client.archives.draws(
            curation,
            key,
            seed=seed,
            epoch=epoch,
            epochs=epochs,
            concepts=concepts,
            sampler=sampler,
            temperature=temperature,
            prompts="raw" if raw else "templates",
        )
    if json:
        print_json(answer)
        return
    for part in _parts(answer):
        console.print(part)


def _parts(answer: ArchiveDraws) -> Iterator[RenderableType]:
    if answer.concepts:
        columns = ("concept", "score", "cluster", "drawn first", f"among {count(answer.count, 'text')}")
        yield table(None, columns, [_chance(chance) for chance in answer.concepts])
    for drawn in answer.epochs:
        yield Text(f"epoch {drawn.epoch}", style="bold")
        yield from _texts(drawn)


def _chance(chance: ConceptChance) -> tuple[str, ...]:
    colour = "green" if chance.added else "default"
    return (
        f"[{colour}]{escape(chance.concept)}[/]",
        f"{chance.score:.3f}",
        "–" if chance.cluster is None else str(chance.cluster),
        f"{chance.first_draw:.3f}",
        f"{chance.inclusion:.3f}",
    )


def _texts(drawn: EpochDraw) -> Iterator[RenderableType]:
    for concept, text in zip(drawn.concepts, drawn.texts, strict=False):
        yield Text.from_markup(f"  [green]{escape(concept)}[/]  {escape(text)}")
    missing = len(drawn.texts) - len(drawn.concepts)
    if missing:
        yield Text(f"  the caption {count(missing, 'time')}, as there is no other concept to draw")
