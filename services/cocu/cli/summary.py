"""The results of a run as text and tables."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cocu.cli.output import count, table
from cocu.cli.uploads import notes, reasons
from cocu.cli.workflow import Outcome
from cocu.schemas import Archive, CurationEstimate, Evaluation, Report

METRICS = {
    "recall": "recall",
    "recall@5": "recall@5 judged",
    "precision@5": "precision@5 judged",
    "mAP": "ap judged",
    "missing recall": "missing recall",
    "missing mAP": "added ap judged",
}
"""Columns of the table and their metrics; judged: concepts that are not labels are left out."""
ROWS = {"caption": "caption alone", "archive": "archive"}
MAX_CONCEPTS = 6
MIN_SAMPLES_PER_NEIGHBOUR = 60
"""With fewer samples, a warning says that archives will contain noise."""


def outcome(result: Outcome) -> RenderableType:
    """Counts, sizes, examples and, if there are labels, metrics."""
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
        yield from not_matched(result.evaluation)


def counts(report: Report) -> Iterator[RenderableType]:
    """The number of samples, and of skipped samples by reason."""
    yield Text.from_markup(
        f"[bold]{count(report.accepted, 'sample')}[/] in {count(report.uploads, 'upload')}"
    )
    if report.skipped:
        yield Text(f"{count(report.skipped, 'sample')} skipped: {reasons(report)}", style="yellow")
    if report.notes:
        yield Text(f"noted: {notes(report)}")
    if report.failed:
        failures = ", ".join(f"{reason} {number:,}" for reason, number in sorted(report.failures.items()))
        yield Text(f"{count(report.failed, 'sample')} failed: {failures}", style="red")
    if report.uploads_failed:
        yield Text(f"{count(report.uploads_failed, 'upload')} could not be read", style="red")


def _sizes(result: Outcome) -> Iterator[RenderableType]:
    curation, statistics = result.curation, result.curation.statistics or {}
    yield Text(f"curation {curation.id}, encoder {curation.encoder}")
    neighbours = curation.parameters.get("neighbours") or 0
    if curation.samples < MIN_SAMPLES_PER_NEIGHBOUR * neighbours:
        yield Text(
            f"{count(curation.samples, 'sample')} are few for {count(neighbours, 'neighbour')}: expect noise "
            "below a few thousand",
            style="yellow",
        )
    if statistics.get("not_matched"):
        yield Text(str(statistics["not_matched"]), style="yellow")
    for name, reason in curation.left_out.items():
        yield Text(f"made without {name}: {reason}", style="yellow")
    samples = statistics.get("samples") or 0
    if samples:
        archived, named = statistics["concepts"] / samples, statistics["concepts_from_own_caption"] / samples
        yield Text(f"{archived:.1f} concepts per archive, {named:.1f} of them named by the caption")


def example(archive: Archive) -> RenderableType:
    """One archive in two lines: its caption, and the best concepts that the caption does not name."""
    caption = " ".join(archive.caption.split())
    added = ", ".join(
        f"[green]{escape(concept.concept)}[/] ×{len(concept.origins)}"
        for concept in archive.added[:MAX_CONCEPTS]
    )
    lines = Text.from_markup(
        f"  {escape(archive.key)}  “{escape(caption)}”\n    + {added}", overflow="ellipsis"
    )
    lines.no_wrap = True
    return lines


def estimate(costs: CurationEstimate) -> RenderableType:
    """The work of a curation by stage, and its costs."""
    rows = [
        (
            stage.stage,
            f"{stage.samples:,}",
            f"{stage.samples_there:,}",
            f"{stage.samples - stage.samples_there:,}",
            _time(stage.seconds),
        )
        for stage in costs.stages
    ]
    stages = table(
        None,
        ["stage", "samples", "there", "to do", "time"],
        [*rows, ("all", "", "", "", _time(costs.seconds))],
    )
    return Group(
        Text.from_markup(
            f"[bold]curation {costs.id}[/], encoder {escape(costs.encoder)}: nothing was started"
        ),
        *([Text(f"it exists and is {costs.state}", style="yellow")] if costs.state else []),
        stages,
        *(
            [Text(f"{costs.pairs:,} of {costs.pairs_in_all:,} pairs of images to compare")]
            if costs.pairs
            else []
        ),
        Text(f"{_size(costs.bytes)} to write, {_size(costs.bytes_free)} free"),
        Text(f"{_size(costs.memory)} of memory per worker, in addition to its encoder"),
        *(Text(f"not known: {reason}", style="yellow") for reason in costs.not_known),
    )


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


def metrics(evaluation: Evaluation) -> RenderableType:
    """The metrics of captions and archives, over all labels and over those the caption does not name.

    Before them, the number of labelled images without a sample, if there are any.
    """
    unused = evaluation.details.get("labels_without_sample") or 0
    if not unused:
        return _metrics(evaluation)
    warning = (
        f"{unused:,} of {count(evaluation.images + unused, 'labelled image')} have no sample in this curation"
    )
    return Group(Text(warning, style="yellow"), _metrics(evaluation))


def _metrics(evaluation: Evaluation) -> Table:
    rows = [
        [ROWS.get(row.name, row.name), *(_number(row.metrics.get(name)) for name in METRICS.values())]
        for row in evaluation.rows
    ]
    title = (
        f"Against the labels of {count(evaluation.images, 'image')}; missing: those the caption does not name"
    )
    return table(title, ["", *METRICS], rows)


def not_matched(evaluation: Evaluation) -> Iterator[RenderableType]:
    """Lines about the labels that were left out, if any."""
    details = evaluation.details
    labels = details.get("labels", 0)
    for count_field, names_field, problem in (
        ("labels_without_sample", "without_sample", "have no sample"),
        ("labels_ambiguous", "ambiguous", "match several samples and were left out"),
    ):
        if details.get(count_field):
            example = f", such as {details[names_field][0]}" if details.get(names_field) else ""
            line = f"{details[count_field]:,} of {labels:,} labels {problem}{example}"
            yield Text(line, style="yellow")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
