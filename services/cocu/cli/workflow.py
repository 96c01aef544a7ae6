"""From a path to archives, over HTTP: upload, curate, wait, measure. `curate` and `demo` share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.progress import TaskID

from cocu.cli.failures import CommandFailedError
from cocu.cli.output import stage_bars, upload_bar
from cocu.client import CocuClient, ConflictError, read_labels
from cocu.client.models import (
    Archive,
    CocoInstances,
    Curation,
    Dataset,
    Evaluation,
    Parameters,
    Report,
    UploadOptions,
    Vocabulary,
)

EXAMPLES = 5


@dataclass(frozen=True)
class Outcome:
    """Everything a run came to."""

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
    """Curate what a path holds, showing progress; what the platform holds already is not made again."""
    known_labels = read_labels(labels) if labels is not None else None
    dataset, made = prepare(client, path, name=name, vocabulary=vocabulary)
    curation = client.curations.create(
        dataset.id, vocabulary=made.id if made else None, encoder=encoder, parameters=parameters
    )
    curation = follow(client, curation)
    report = client.datasets.report(dataset.id)
    return Outcome(
        dataset=client.datasets.get(dataset.id),
        report=report,
        vocabulary=made,
        curation=curation,
        examples=tuple(islice(client.archives.list(curation.id, added=True, limit=EXAMPLES), EXAMPLES)),
        evaluation=evaluate(client, curation.id, known_labels) if known_labels is not None else None,
    )


def prepare(
    client: CocuClient, path: Path, *, name: str, vocabulary: Path | None = None
) -> tuple[Dataset, Vocabulary | None]:
    """Put what a path holds, and a vocabulary, into the platform, and wait until it is read."""
    require_encoder(client)
    made = client.vocabularies.from_file(vocabulary) if vocabulary is not None else None
    dataset = upload(client, path, name=name)
    read(client, dataset)
    report = client.datasets.report(dataset.id)
    if report.accepted == 0:
        raise CommandFailedError(f"nothing of {path} could be used: {reasons(report)}")
    return dataset, made


def require_encoder(client: CocuClient) -> None:
    """Raise CommandFailedError, before anything is sent, where the platform has no encoder."""
    if next(client.encoders.list(), None) is None:
        raise CommandFailedError(
            "the platform has no encoder; give a bundle with --encoder, or make one with: cocu encoder export"
        )


def reasons(report: Report) -> str:
    """The skipped by reason in one line."""
    counts = sorted(report.reasons.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{reason} {number:,}" for reason, number in counts) or "nothing was found in it"


def dataset_named(client: CocuClient, name: str) -> Dataset:
    """The dataset with this name, made where there is none."""
    for dataset in client.datasets.list():
        if dataset.name == name:
            return dataset
    return client.datasets.create(name)


def upload(client: CocuClient, path: Path, *, name: str, options: UploadOptions | None = None) -> Dataset:
    """Put what a path holds into the dataset with this name, showing a bar."""
    dataset = dataset_named(client, name)
    with upload_bar() as bar:
        task = bar.add_task("upload", total=None)
        try:
            client.datasets.upload(
                dataset.id,
                path,
                options=options,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except ConflictError as error:
            raise CommandFailedError(
                f"dataset {name!r} holds another file of that name ({error}); choose another with --name"
            ) from error
    return dataset


def read(client: CocuClient, dataset: Dataset) -> Dataset:
    """Wait until every upload is read, showing a bar."""
    with stage_bars() as bars:
        task = bars.add_task("ingest", total=None)
        return client.datasets.wait(
            dataset.id,
            progress=lambda seen: bars.update(
                task, completed=seen.uploads - seen.ingesting, total=seen.uploads or None
            ),
        )


def follow(client: CocuClient, curation: Curation) -> Curation:
    """Wait for a curation, showing a bar per stage."""
    with stage_display() as show:
        return client.curations.wait(curation.id, progress=show.update)


class StageDisplay:
    """Bars that follow a curation's stages; a stage gets its bar when it is first known."""

    def __init__(self) -> None:
        self.progress = stage_bars()
        self._tasks: dict[str, TaskID] = {}

    def update(self, curation: Curation) -> None:
        """Show what this state says."""
        for stage in curation.stages:
            if stage.stage not in self._tasks:
                self._tasks[stage.stage] = self.progress.add_task(stage.stage, total=None)
            done, total = stage.samples_done, stage.samples_total
            if stage.done == stage.total:
                done = total
            self.progress.update(self._tasks[stage.stage], completed=done, total=total or None)


@contextmanager
def stage_display() -> Iterator[StageDisplay]:
    """Bars shown while the context lasts."""
    display = StageDisplay()
    with display.progress:
        yield display


def evaluate(
    client: CocuClient,
    curation: str,
    labels: dict[str, list[str]] | CocoInstances,
    label_map: str | None = None,
) -> Evaluation:
    """Measure a curation against labels of either form."""
    if isinstance(labels, CocoInstances):
        return client.evaluations.create(curation, instances=labels, label_map=label_map)
    return client.evaluations.create(curation, labels=labels, label_map=label_map)
