"""`cocu concepts` and `cocu compare`: concepts of a curation, and differences between two curations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.failures import CommandFailedError
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.client import CocuClient
from cocu.schemas import Comparison, ConceptChange, ConceptDetail, ConceptOrder, SampleChange

if TYPE_CHECKING:
    import pyarrow

CurationArgument = Annotated[str, typer.Argument(help="Id of the curation.")]
MAX_SHOWN = 6


def concepts(
    *,
    curation: CurationArgument,
    concept: Annotated[
        str | None,
        typer.Argument(
            help="Show this concept: what it occurs with, and where its score is best.", show_default=False
        ),
    ] = None,
    order: Annotated[
        ConceptOrder, typer.Option(help="Column to sort by: archives, captions, added or concept.")
    ] = "archives",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of concepts.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            dir_okay=False,
            help="Write the table of all concepts here, as .parquet or .arrow.",
            show_default=False,
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show how often concepts occur in captions (before) and in archives (after), or one in detail."""
    if output is not None and concept is not None:
        raise CommandFailedError("--output is for the table of all concepts: leave out the concept")
    write = None if output is None else _writer(output)
    with CocuClient(server, api_key) as client:
        if write is not None:
            write(client.concepts.table(curation, order=order))
            return
        if concept is not None:
            detail = client.concepts.get(curation, concept, limit=min(limit, 100))
            _print_detail(detail, json=json)
            return
        frequencies = list(
            client.concepts.list(curation, order=order, limit=limit, page_size=min(limit, 1000))
        )
    if json:
        print_json(frequencies)
        return
    rows = [(escape(row.concept), row.captions, row.archives, row.added) for row in frequencies]
    console.print(table(None, ("concept", "captions", "archives", "added"), rows))


def _writer(output: Path) -> Callable[[pyarrow.Table], None]:
    """What writes a table into this file. Raises CommandFailedError for a name that says no format."""
    from pyarrow import feather, parquet  # noqa: PLC0415 - slow to import

    if output.suffix == ".parquet":
        return lambda table: parquet.write_table(table, output)
    if output.suffix == ".arrow":
        return lambda table: feather.write_feather(table, str(output), compression="uncompressed")
    raise CommandFailedError(f"{output.name} does not say the format: call it .parquet or .arrow")


def compare(
    *,
    first: Annotated[str, typer.Argument(help="Id of a curation.")],
    second: Annotated[str, typer.Argument(help="Id of another curation of the same dataset.")],
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="Maximum number of concepts and of samples.")
    ] = 10,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Compare two curations of a dataset: concepts gained and lost, samples that changed most."""
    with CocuClient(server, api_key) as client:
        comparison = client.comparisons.get(first, second)
        changes = list(client.comparisons.concepts(first, second, limit=limit))
        samples = list(client.comparisons.samples(first, second, limit=limit))
    if json:
        print_json({**comparison.model_dump(mode="json"), "concepts": changes, "changed_most": samples})
        return
    for part in _comparison(comparison, changes, samples):
        console.print(part)


def _print_detail(detail: ConceptDetail, *, json: bool) -> None:
    if json:
        print_json(detail)
        return
    for part in _detail(detail):
        console.print(part)


def _detail(detail: ConceptDetail) -> Iterator[RenderableType]:
    yield Text.from_markup(
        f"[bold]{escape(detail.concept)}[/]: {count(detail.captions, 'caption')}, "
        f"{count(detail.archives, 'archive')}, {detail.added:,} of them without the caption naming it"
    )
    yield Text(f"written as {', '.join(detail.forms)}")
    ranks = [rank or "–" for rank in (detail.captions_rank, detail.archives_rank)]
    yield Text(f"rank by captions {ranks[0]}, by archives {ranks[1]}")
    if detail.similar:
        near = [(escape(other.name), f"{other.similarity:.3f}", other.archives) for other in detail.similar]
        yield table("Near in meaning", ("concept", "cosine", "archives"), near)
    co_occurring = [
        (escape(other.concept), other.archives, f"{other.lift:.2f}") for other in detail.co_occurring
    ]
    yield table("Occurs with", ("concept", "archives", "lift"), co_occurring)
    samples = [
        (
            escape(sample.key),
            f"{sample.score:.3f}",
            "added" if sample.added else "named",
            _caption(sample.caption),
        )
        for sample in detail.samples
    ]
    yield table("Scores best in", ("key", "score", "", "caption"), samples)


def _comparison(
    comparison: Comparison, changes: list[ConceptChange], samples: list[SampleChange]
) -> Iterator[RenderableType]:
    correlation = "–" if comparison.rank_correlation is None else f"{comparison.rank_correlation:.3f}"
    yield Text.from_markup(
        f"[bold]{comparison.samples_changed:,}[/] of {count(comparison.samples, 'sample')} changed; "
        f"mean change {comparison.change:.3f}, rank correlation of shared concepts {correlation}"
    )
    yield Text(
        f"{comparison.shared:,} concepts shared, {comparison.gained:,} gained, {comparison.lost:,} lost"
    )
    if comparison.only_in_first or comparison.only_in_second:
        yield Text(
            f"{comparison.only_in_first:,} samples only in the first, "
            f"{comparison.only_in_second:,} in the second"
        )
    if changes:
        rows = [
            (escape(change.concept), change.first, change.second, change.gained, change.lost)
            for change in changes
        ]
        yield table("Concepts", ("concept", "first", "second", "gained", "lost"), rows)
    if samples:
        yield table(
            "Changed most", ("key", "change", "gained", "lost"), [_change(sample) for sample in samples]
        )


def _change(sample: SampleChange) -> tuple[str, ...]:
    return (
        escape(sample.key),
        f"{sample.change:.3f}",
        escape(", ".join(sample.gained[:MAX_SHOWN])),
        escape(", ".join(sample.lost[:MAX_SHOWN])),
    )


def _caption(text: str) -> str:
    return escape(" ".join(text.split()))
