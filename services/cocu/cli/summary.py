"""What a run came to, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cocu.cli.output import count, table
from cocu.cli.workflow import Outcome, reasons
from cocu.client.models import Archive, CurationEstimate, Evaluation, Report

METRICS = {
    "recall": "recall",
    "recall@5": "recall@5 judged",
    "precision@5": "precision@5 judged",
    "mAP": "ap judged",
    "missing recall": "missing recall",
    "missing mAP": "added ap judged",
}
"""Columns of the table and the metrics they show; judged: concepts that are no label are left out."""
ROWS = {"caption": "caption alone", "archive": "archive"}
MOST_CONCEPTS = 6


def outcome(result: Outcome) -> RenderableType:
    """Counts, sizes, examples and, where labels were given, metrics."""
    return Group(*_parts(result))


def _parts(result: Outcome) -> Iterator[RenderableType]:
    yield Text()
    yield from counts(result.report)
    yield from _sizes(result)
    if result.examples:
        yield Text()
        yield Text(
            "What captions left out, and how many neighbours' captions name it, for example:", style="bold"
        )
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


def _sizes(result: Outcome) -> Iterator[RenderableType]:
    curation, statistics = result.curation, result.curation.statistics or {}
    yield Text(f"curation {curation.id}, encoder {curation.encoder}")
    samples = statistics.get("samples") or 0
    if samples:
        archived, named = statistics["concepts"] / samples, statistics["concepts_from_own_caption"] / samples
        yield Text(f"{archived:.1f} concepts per archive, {named:.1f} of them named by the caption")


def example(archive: Archive) -> RenderableType:
    """One archive in two lines: its caption, and the best of what that does not name."""
    caption = " ".join(archive.caption.split())
    added = ", ".join(
        f"[green]{escape(concept.concept)}[/] ×{len(concept.origins)}"
        for concept in archive.added[:MOST_CONCEPTS]
    )
    lines = Text.from_markup(
        f"  {escape(archive.key)}  “{escape(caption)}”\n    + {added}", overflow="ellipsis"
    )
    lines.no_wrap = True
    return lines


def estimate(found: CurationEstimate) -> RenderableType:
    """What a curation would do, stage by stage, and take."""
    rows = [
        (
            each.stage,
            f"{each.samples:,}",
            f"{each.samples_there:,}",
            f"{each.samples - each.samples_there:,}",
            _time(each.seconds),
        )
        for each in found.stages
    ]
    stages = table(None, ["stage", "samples", "there", "to do", "time"], [*rows, _sum(found)])
    return Group(
        Text.from_markup(
            f"[bold]curation {found.id}[/], encoder {escape(found.encoder)}: nothing was started"
        ),
        *([Text(f"it exists, and is {found.state}", style="yellow")] if found.state else []),
        stages,
        *(
            [Text(f"{found.pairs:,} of {found.pairs_in_all:,} pairs of images to compare")]
            if found.pairs
            else []
        ),
        Text(f"{_size(found.bytes)} to write, {_size(found.bytes_free)} free"),
        Text(f"{_size(found.memory)} of memory for a worker, beside its encoder"),
        *(Text(f"not known: {each}", style="yellow") for each in found.not_known),
    )


def _sum(found: CurationEstimate) -> tuple[str, str, str, str, str]:
    return "all", "", "", "", _time(found.seconds)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _size(size: int | None) -> str:
    if size is None:
        return "–"
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def metrics(evaluation: Evaluation) -> Table:
    """Caption alone against archive: over all labels, and over those the caption does not name."""
    rows = [
        [ROWS.get(row.name, row.name), *(_number(row.metrics.get(name)) for name in METRICS.values())]
        for row in evaluation.rows
    ]
    title = (
        f"Against the labels of {count(evaluation.images, 'image')}; missing: those the caption does not name"
    )
    return table(title, ["", *METRICS], rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
