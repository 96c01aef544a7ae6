"""What a run came to, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cocu.cli.output import count, table
from cocu.cli.workflow import Outcome, reasons
from cocu.client.models import Archive, Evaluation, Report

METRICS = {
    "recall": "recall",
    "recall@5": "recall@5 judged",
    "precision@5": "precision@5 judged",
    "mAP": "ap judged",
    "missing recall": "missing recall",
    "missing mAP": "added ap judged",
}
"""Columns of the table and the metrics they show; judged: concepts that are no label are not counted wrong."""
ROWS = {"caption": "caption alone", "archive": "archive"}
MOST_CONCEPTS = 6
LONGEST_CAPTION = 90


def outcome(result: Outcome) -> RenderableType:
    """Counts, sizes, examples and, where labels were given, metrics."""
    return Group(*_parts(result))


def _parts(result: Outcome) -> Iterator[RenderableType]:
    yield Text()
    yield from counts(result.report)
    yield _sizes(result)
    if result.examples:
        yield Text()
        yield Text("What captions left out, for example:", style="bold")
        yield from (example(archive) for archive in result.examples)
    if result.evaluation is not None:
        yield Text()
        yield metrics(result.evaluation)


def counts(report: Report) -> Iterator[RenderableType]:
    """How many samples there are and how many were skipped, by reason."""
    yield Text.from_markup(
        f"[bold]{count(report.accepted, 'sample')}[/] in {count(report.uploads, 'upload')}"
    )
    if report.skipped:
        yield Text(f"{count(report.skipped, 'sample')} skipped: {reasons(report)}", style="yellow")
    if report.failed:
        failures = ", ".join(f"{reason} {number:,}" for reason, number in sorted(report.failures.items()))
        yield Text(f"{count(report.failed, 'sample')} failed: {failures}", style="red")
    if report.uploads_failed:
        yield Text(f"{count(report.uploads_failed, 'upload')} could not be read", style="red")


def _sizes(result: Outcome) -> RenderableType:
    curation, statistics = result.curation, result.curation.statistics or {}
    text = f"curation {curation.id} with {curation.encoder}"
    samples = statistics.get("samples") or 0
    if samples:
        archived, named = statistics["concepts"] / samples, statistics["concepts_from_own_caption"] / samples
        text += f": {archived:.1f} concepts per archive, of which captions name {named:.1f}"
    return Text(text)


def example(archive: Archive) -> RenderableType:
    """One archive in two lines: the caption, and the best concepts it does not name."""
    caption = (
        archive.caption
        if len(archive.caption) <= LONGEST_CAPTION
        else archive.caption[:LONGEST_CAPTION] + "…"
    )
    added = ", ".join(
        f"[green]{escape(concept.concept)}[/] {concept.score:.2f}"
        for concept in archive.added[:MOST_CONCEPTS]
    )
    return Text.from_markup(
        f"  {escape(archive.key)}  “{escape(' '.join(caption.split()))}”\n      + {added}"
    )


def metrics(evaluation: Evaluation) -> Table:
    """Caption alone against archive: over all labels, and over those the caption does not name."""
    rows = [
        [ROWS.get(row.name, row.name), *(_number(row.metrics.get(name)) for name in METRICS.values())]
        for row in evaluation.rows
    ]
    title = (
        f"Against the labels of {count(evaluation.images, 'image')}; "
        f"“missing” counts labels the caption does not name ({count(evaluation.images_missing, 'image')})"
    )
    return table(title, ["", *METRICS], rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
