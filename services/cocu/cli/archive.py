"""`cocu archive`: one archive with the origins of each concept, lists of archives, and counts over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.client import CocuClient
from cocu.schemas import (
    ArchiveCard,
    ArchiveDetail,
    ArchiveOrder,
    Mention,
    VerdictChoice,
    WeighedConcept,
    WeighedOrigin,
)

app = typer.Typer(help="Archives: the ranked concepts of an image, and their origins.", no_args_is_help=True)

MAX_ORIGINS = 3

CurationArgument = Annotated[str, typer.Argument(help="Id of the curation.")]
ConceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--concept", help="Only archives with this concept; may be given several times.", show_default=False
    ),
]
AddedOption = Annotated[
    bool | None,
    typer.Option(
        "--added/--named",
        help="Only archives with a concept that the caption does not name, or that it names; with --concept "
        "each of these.",
        show_default=False,
    ),
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        "--min-score", help="Only archives where such a concept scores at least this.", show_default=False
    ),
]
ChangedOption = Annotated[
    bool | None,
    typer.Option(
        "--changed/--unchanged",
        help="Only archives whose neighbours differ, or not, from those before the dataset grew.",
        show_default=False,
    ),
]
LassoOption = Annotated[
    str | None,
    typer.Option(
        help="Only archives whose points on the map --projection this polygon encloses; from a link of the "
        "map, or corners as docs/dashboard.md says.",
        show_default=False,
    ),
]
ProjectionOption = Annotated[
    str | None, typer.Option(help="Id of the projection of --lasso or --region.", show_default=False)
]
RegionOption = Annotated[
    int | None,
    typer.Option(min=0, max=255, help="Only archives in this region of --projection.", show_default=False),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(help="Judge concepts by these labels, which the dataset keeps.", show_default=False),
]
VerdictOption = Annotated[
    VerdictChoice | None,
    typer.Option(
        help="Only archives with a concept that is right (hit) or wrong (false) by --labels; or that lack "
        "one (missed).",
        show_default=False,
    ),
]


@app.command()
def show(
    curation: CurationArgument,
    key: Annotated[str, typer.Argument(help="Key of the sample.")],
    labels: LabelsOption = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show the archive of one sample; the words of captions that name concepts stand in brackets."""
    with CocuClient(server, api_key) as client:
        archive = client.archives.get(curation, key, labels=labels)
    if json:
        print_json(archive)
        return
    for part in _parts(archive):
        console.print(part)


@app.command("list")
def list_archives(
    *,
    curation: CurationArgument,
    concept: ConceptOption = None,
    added: AddedOption = None,
    min_score: MinScoreOption = None,
    changed: ChangedOption = None,
    lasso: LassoOption = None,
    projection: ProjectionOption = None,
    region: RegionOption = None,
    labels: LabelsOption = None,
    verdict: VerdictOption = None,
    order: Annotated[
        ArchiveOrder,
        typer.Option(
            help="sample, -gain (most added first), -best_added (best added score first), or by the score "
            "of the first --concept: score (lowest first) or -score."
        ),
    ] = "sample",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of archives.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List archives: what each gained, and the best concepts that were added."""
    with CocuClient(server, api_key) as client:
        cards = list(
            client.archives.cards(
                curation,
                concept=concept,
                added=added,
                min_score=min_score,
                changed=changed,
                lasso=lasso,
                projection=projection,
                region=region,
                labels=labels,
                verdict=verdict,
                order=order,
                limit=limit,
                page_size=min(limit, 200),
            )
        )
    if json:
        print_json(cards)
        return
    asked = [asked.concept for asked in cards[0].asked] if cards else []
    console.print(
        table(
            None, ("key", "concepts", "gain", *map(escape, asked), "best added", "caption"), map(_card, cards)
        )
    )


@app.command()
def facets(
    *,
    curation: CurationArgument,
    concept: ConceptOption = None,
    added: AddedOption = None,
    min_score: MinScoreOption = None,
    changed: ChangedOption = None,
    lasso: LassoOption = None,
    projection: ProjectionOption = None,
    region: RegionOption = None,
    labels: LabelsOption = None,
    verdict: VerdictOption = None,
    top: Annotated[int, typer.Option(min=1, max=100, help="Maximum number of concepts.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Count archives: in total, by concept, by best added score and by the number of concepts added."""
    with CocuClient(server, api_key) as client:
        counts = client.archives.facets(
            curation,
            concept=concept,
            added=added,
            min_score=min_score,
            changed=changed,
            lasso=lasso,
            projection=projection,
            region=region,
            labels=labels,
            verdict=verdict,
            top=top,
        )
    if json:
        print_json(counts)
        return
    console.print(Text(count(counts.total, "archive"), style="bold"))
    rows = [(escape(facet.concept), facet.archives, facet.added) for facet in counts.concepts]
    console.print(table("Concepts", ("concept", "archives", "added"), rows))
    for title, histogram in (("Best added score", counts.best_added), ("Concepts added", counts.gain)):
        bins = zip(pairwise(histogram.edges), histogram.counts, strict=True)
        shown = [(f"{low:g}", f"{high:g}", archives) for (low, high), archives in bins if archives]
        console.print(table(title, ("from", "to below", "archives"), shown))


def _card(card: ArchiveCard) -> tuple[object, ...]:
    best = ", ".join(f"{added.concept} {added.score:.2f}" for added in card.best_added)
    return (
        escape(card.key),
        card.concepts,
        card.gain,
        *(f"{asked.score:.3f}{' added' if asked.added else ''}" for asked in card.asked),
        escape(best),
        escape(" ".join(card.caption.split())),
    )


def _parts(archive: ArchiveDetail) -> Iterator[RenderableType]:
    yield Text(f"{archive.key}: “{_marked(archive.caption, archive.mentions)}”", style="bold")
    has_parts = any(concept.prior is not None for concept in archive.concepts)
    local = ("prior", "support") if has_parts else ("local",)
    is_judged = archive.missed is not None
    verdict = ("by labels",) if is_judged else ()
    columns = ("concept", "score", *local, "global", "cluster", *verdict, "named by")
    rows = [_row(concept, has_parts=has_parts, is_judged=is_judged) for concept in archive.concepts]
    yield table(None, columns, rows)
    if archive.missed:
        yield Text(f"labels that it lacks: {', '.join(archive.missed)}")
    if not archive.concepts:
        yield Text("no concept of the vocabulary is named by this caption or those of its neighbours")
    if archive.neighbours:
        yield Text("Neighbours", style="bold")
    for neighbour in archive.neighbours:
        caption = _marked(neighbour.caption, neighbour.mentions)
        yield Text(f"{neighbour.similarity:.3f}  {neighbour.key}: “{caption}”")


def _marked(caption: str, mentions: Sequence[Mention]) -> str:
    """The caption in one line, with what names a concept in brackets."""
    parts = []
    position = 0
    for mention in mentions:
        if mention.start >= position:
            parts += [caption[position : mention.start], "[", caption[mention.start : mention.end], "]"]
            position = mention.end
    return " ".join("".join([*parts, caption[position:]]).split())


def _row(concept: WeighedConcept, *, has_parts: bool, is_judged: bool) -> tuple[str, ...]:
    colour = "green" if concept.added else "default"
    origins = [_origin(origin) for origin in concept.origins]
    local = [concept.prior, concept.support] if has_parts else [concept.local_score]
    more = len(origins) - MAX_ORIGINS
    named_by = ", ".join(origins[:MAX_ORIGINS]) + (f" and {more} more" if more > 0 else "")
    return (
        f"[{colour}]{escape(concept.concept)}[/]",
        f"{concept.score:.3f}",
        *("–" if part is None else f"{part:.3f}" for part in local),
        f"{concept.global_score:.3f}",
        "–" if concept.cluster is None else str(concept.cluster),
        *((concept.verdict or "–",) if is_judged else ()),
        named_by,
    )


def _origin(origin: WeighedOrigin) -> str:
    if origin.kind == "own_caption":
        return "own caption"
    return escape(origin.key) if origin.weight is None else f"{escape(origin.key)} {origin.weight:.0%}"
