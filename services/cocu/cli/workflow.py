"""From a path to archives over HTTP: upload, curate, wait, measure. `curate` and `demo` share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import TaskID

from cocu.cli import uploads
from cocu.cli.failures import CommandFailedError
from cocu.cli.output import stage_bars
from cocu.client import CocuClient, read_labels
from cocu.client.datasets import parts_of
from cocu.sample_names import last_part, match_names
from cocu.schemas import Archive, CocoInstances, Curation, Dataset, Evaluation, Parameters, Report, Vocabulary

EXAMPLES = 5


@dataclass(frozen=True)
class Outcome:
    """The results of a run."""

    dataset: Dataset
    report: Report
    vocabulary: Vocabulary | None
    curation: Curation
    examples: tuple[Archive, ...]
    evaluation: Evaluation | None


def run(
    client: CocuClient,
    path: Path,
    *,
    name: str,
    vocabulary: Path | None = None,
    encoder: str | None = None,
    labels: Path | None = None,
    parameters: Parameters | None = None,
) -> Outcome:
    """Curate the content of a path, with progress bars; what the platform has already is not repeated."""
    known_labels = read_labels(labels) if labels is not None else None
    dataset, created_vocabulary = prepare(client, path, name=name, vocabulary=vocabulary)
    if known_labels is not None:
        require_labelled(client, dataset, known_labels, labels)
    curation = client.curations.create(
        dataset.id,
        vocabulary=created_vocabulary.id if created_vocabulary else None,
        encoder=encoder,
        parameters=parameters,
    )
    curation = follow(client, curation)
    report = client.datasets.report(dataset.id)
    return Outcome(
        dataset=client.datasets.get(dataset.id),
        report=report,
        vocabulary=created_vocabulary,
        curation=curation,
        examples=tuple(client.archives.list(curation.id, added=True, limit=EXAMPLES)),
        evaluation=evaluate(client, curation.id, known_labels) if known_labels is not None else None,
    )


def prepare(
    client: CocuClient, path: Path, *, name: str, vocabulary: Path | None = None
) -> tuple[Dataset, Vocabulary | None]:
    """Upload the content of a path and a vocabulary, and wait until it is read.

    Files that cannot be read are reported and left out; raises CommandFailedError if the dataset is empty.
    """
    require_encoder(client)
    parts = parts_of(path)
    created_vocabulary = client.vocabularies.from_file(vocabulary) if vocabulary is not None else None
    target, sent = uploads.send(client, path, name=name, parts=parts)
    intake = uploads.wait_until_read(client, target, sent)
    if intake.report.accepted == 0:
        uploads.require_samples(client, target, intake, path)
    uploads.print_intake(intake)
    return intake.dataset, created_vocabulary


def require_encoder(client: CocuClient) -> None:
    """Raise CommandFailedError, before anything is sent, if the platform has no encoder."""
    if next(client.encoders.list(), None) is None:
        raise CommandFailedError(
            "the platform has no encoder; give a bundle with --encoder, or make one with: cocu encoder export"
        )


def require_labelled(
    client: CocuClient, dataset: Dataset, labels: dict[str, list[str]] | CocoInstances, file: Path | None
) -> None:
    """Raise CommandFailedError, before anything is computed, if no label is of a sample of the dataset."""
    names = _labelled_images(labels)
    last_parts = {last_part(name) for name in names}
    keys = (sample.key for sample in client.datasets.samples(dataset.id))
    matches = match_names(names, (key for key in keys if last_part(key) in last_parts))
    if not matches.keys:
        first = next(iter(client.datasets.samples(dataset.id)), None)
        example = (
            "" if first is None or not names else f"; labels are of {names[0]!r}, samples of {first.key!r}"
        )
        raise CommandFailedError(
            f"none of the {len(names):,} images that {file} labels is in this dataset{example}"
        )


def _labelled_images(labels: dict[str, list[str]] | CocoInstances) -> list[str]:
    """The names of the images that have labels."""
    if isinstance(labels, CocoInstances):
        annotated = {str(annotation.image_id) for annotation in labels.annotations}
        return [image.file_name for image in labels.images if str(image.id) in annotated]
    return [name for name, own in labels.items() if own]


def follow(client: CocuClient, curation: Curation) -> Curation:
    """Wait for a curation, with a bar per stage."""
    with stage_display() as display:
        return client.curations.wait(curation.id, progress=display.update, outage=uploads.print_outage)


class StageDisplay:
    """Bars for the stages of a curation; a stage gets its bar when the curation first reports it."""

    def __init__(self) -> None:
        self.progress = stage_bars()
        self._tasks: dict[str, TaskID] = {}

    def update(self, curation: Curation) -> None:
        """Show the progress of this state."""
        for stage in curation.stages:
            if stage.stage not in self._tasks:
                self._tasks[stage.stage] = self.progress.add_task(stage.stage, total=None)
            done, total = stage.samples_done, stage.samples_total
            if stage.done == stage.total:
                done = total
            self.progress.update(self._tasks[stage.stage], completed=done, total=total or None)


@contextmanager
def stage_display() -> Iterator[StageDisplay]:
    """Show bars inside the context."""
    display = StageDisplay()
    with display.progress:
        yield display


def evaluate(
    client: CocuClient,
    curation: str,
    labels: dict[str, list[str]] | CocoInstances,
    label_map: str | None = None,
) -> Evaluation:
    """Measure a curation against labels in one of the two forms."""
    if isinstance(labels, CocoInstances):
        return client.evaluations.create(curation, instances=labels, label_map=label_map)
    return client.evaluations.create(curation, labels=labels, label_map=label_map)
