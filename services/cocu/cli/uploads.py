"""Uploads of files: send them, wait until they are read, and print the result for each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console

from cocu.cli.failures import CommandFailedError, PartlyFailedError
from cocu.cli.output import console, count, errors, join_first, stage_bars, upload_bar
from cocu.client import CocuClient, ConflictError, InvalidInputError, NotFoundError, ProblemError
from cocu.client.datasets import parts_of
from cocu.client.sources import Part, survey
from cocu.sample_names import Role, file_name
from cocu.schemas import Dataset, Report, Upload, UploadOptions
from cocu.text.names import check_name

MAX_SHOWN = 5
"""Uploads that are shown one by one."""
MAX_REASONS = 3
"""Reasons for which an example is shown."""


@dataclass(frozen=True)
class Target:
    """The dataset of an upload; is_new: this command created it."""

    dataset: Dataset
    is_new: bool


@dataclass(frozen=True)
class Intake:
    """The result of the uploads of one command, after they were read.

    report: of the whole dataset. uploads: those of this command that failed, or have columns or a detail to
    show. accepted: samples from this command's uploads.
    """

    dataset: Dataset
    report: Report
    uploads: tuple[Upload, ...]
    accepted: int

    @property
    def failed(self) -> list[Upload]:
        """The files that could not be read."""
        return [upload for upload in self.uploads if upload.state == "failed"]


def find_dataset(client: CocuClient, id_or_name: str) -> Dataset:
    """The dataset with this id or name; raises CommandFailedError, with the names of some that exist."""
    try:
        return client.datasets.get(id_or_name)
    except (NotFoundError, InvalidInputError):
        datasets = list(client.datasets.list())
    for dataset in datasets:
        if dataset.name == id_or_name:
            return dataset
    raise CommandFailedError(f"there is no dataset {id_or_name!r}; there are: {join_names(datasets)}")


def join_names(datasets: Sequence[Dataset]) -> str:
    """The names of datasets in one line."""
    return join_first([dataset.name for dataset in datasets]) or "none"


def find_or_create(client: CocuClient, name: str) -> Target:
    """The dataset with this name, created if necessary; raises CommandFailedError for an invalid name."""
    try:
        name = check_name(name)
    except ValueError as error:
        raise CommandFailedError(
            f"no dataset can be called {name!r}: {error}; choose another name"
        ) from error
    for dataset in client.datasets.list():
        if dataset.name == name:
            return Target(dataset, is_new=False)
    return Target(client.datasets.create(name), is_new=True)


def send(
    client: CocuClient,
    path: Path,
    *,
    name: str,
    options: UploadOptions | None = None,
    parts: Sequence[Part] | None = None,
) -> tuple[Target, set[str]]:
    """Upload a path into the dataset with this name, with a bar; returns also the names of the uploads.

    The dataset is created only after the path was examined, so an empty path creates none.
    """
    sent = parts_of(path, options) if parts is None else parts
    target = find_or_create(client, name)
    with upload_bar() as bar, delete_if_refused(client, target):
        task = bar.add_task("upload", total=None)
        try:
            client.datasets.upload_parts(
                target.dataset.id,
                sent,
                options=options,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except ConflictError as error:
            raise CommandFailedError(
                f"dataset {name!r} has another file of that name ({error}); choose another with --name"
            ) from error
    _print_ignored(path)
    return target, {part.name for part in sent}


def _print_ignored(path: Path) -> None:
    """Print how many files of a folder were not sent although the user may have expected it."""
    ignored = [
        file
        for file in survey(path).ignored
        if file_name(file.relative_to(path).as_posix(), first_dot=False).role is not Role.IGNORED
        or file.is_dir()
    ]
    if ignored:
        number = (
            f"{len(ignored):,} files or linked folders" if len(ignored) > 1 else "1 file or linked folder"
        )
        errors.print(f"{number} of {path} not sent, such as {ignored[0].relative_to(path)}", markup=False)


@contextmanager
def delete_if_refused(client: CocuClient, target: Target) -> Iterator[None]:
    """Delete a dataset that this command created if the platform refuses its first upload.

    After a lost connection the dataset stays, so that the same command can continue.
    """
    try:
        yield
    except ProblemError:
        if target.is_new and client.datasets.get(target.dataset.id).uploads == 0:
            _delete_if_empty(client, target)
        raise


def wait_until_read(client: CocuClient, target: Target, sent: Collection[str]) -> Intake:
    """Wait until the whole dataset is read, with a bar, and return the result of these uploads."""
    with stage_bars() as bars:
        task = bars.add_task("ingest", total=None)
        dataset = client.datasets.wait(
            target.dataset.id,
            progress=lambda state: bars.update(
                task, completed=state.uploads - state.ingesting, total=state.uploads or None
            ),
            outage=print_outage,
        )
    uploads = [
        upload for upload in client.datasets.uploads(dataset.id, page_size=1000) if upload.name in sent
    ]
    return Intake(
        dataset=dataset,
        report=client.datasets.report(dataset.id),
        uploads=tuple(upload for upload in uploads if _is_notable(upload)),
        accepted=sum(upload.accepted for upload in uploads),
    )


def print_outage(reason: str) -> None:
    """Print that the command waits for the platform."""
    errors.print(f"{reason} Waiting for it; the work will continue", markup=False, soft_wrap=True)


def print_intake(intake: Intake, *, to: Console = console) -> None:
    """Print how tables were read; and, on standard error, which files could not be read."""
    read_as = [upload for upload in intake.uploads if upload.state != "failed"]
    for upload in read_as[:MAX_SHOWN]:
        to.print(f"{upload.name}: {_reading(upload)}", markup=False, soft_wrap=True)
    if len(read_as) > MAX_SHOWN:
        to.print(f"… and {len(read_as) - MAX_SHOWN:,} more")
    for upload in intake.failed[:MAX_SHOWN]:
        errors.print(f"not read: {_reason(upload)}", style="red", markup=False, soft_wrap=True)
    if len(intake.failed) > MAX_SHOWN:
        errors.print(f"… and {len(intake.failed) - MAX_SHOWN:,} more that could not be read", style="red")


def require_samples(client: CocuClient, target: Target, intake: Intake, source: object) -> None:
    """Raise an error if nothing that was sent could be used, or if some files could not be read.

    CommandFailedError (exit status 1): nothing could be used, and why. A dataset that this command created is
    then deleted, unless a retry may help. PartlyFailedError (exit status 3): the rest is in the dataset.
    """
    if intake.accepted == 0:
        reason = "; ".join(_failure_reasons(client, intake)) or "nothing was found in it"
        kept = _is_retryable(intake) or not _delete_if_empty(client, target)
        advice = f"; to try again: cocu dataset retry {intake.dataset.id}" if _is_retryable(intake) else ""
        deleted = "" if kept else f"; dataset {intake.dataset.name!r} was not kept"
        raise CommandFailedError(f"nothing of {source} could be used: {reason}{advice}{deleted}")
    if intake.failed:
        raise PartlyFailedError(
            f"{count(len(intake.failed), 'file')} of {source} could not be read; the rest is in dataset "
            f"{intake.dataset.name!r}"
        )


def reasons(report: Report) -> str:
    """The number of skipped samples by reason, in one line."""
    counts = sorted(report.reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {number:,}" for reason, number in counts) or "nothing was found in it"


def notes(report: Report) -> str:
    """The notes of a report in one line: what was decided, guessed or lost while files were read."""
    return ", ".join(f"{code} ×{number:,}" for code, number in sorted(report.notes.items()))


def failures(client: CocuClient, dataset: str) -> Iterator[str]:
    """A line for each of the first uploads of a dataset that could not be read."""
    failed = (
        upload for upload in client.datasets.uploads(dataset, page_size=1000) if upload.state == "failed"
    )
    for upload in islice(failed, MAX_SHOWN):
        yield _reason(upload)
    rest = sum(1 for _ in failed)
    if rest:
        yield f"… and {rest:,} more"


def _is_notable(upload: Upload) -> bool:
    return upload.state == "failed" or bool(upload.columns) or bool(upload.detail)


def _reading(upload: Upload) -> str:
    columns = ", ".join(f"{role} {column!r}" for role, column in upload.columns.items())
    return "; ".join(part for part in (upload.format, columns, upload.detail) if part)


def _reason(upload: Upload) -> str:
    # The platform's message may already contain the file's name.
    detail = upload.detail or "the reason is not known; see the platform's log"
    return detail if upload.name in detail else f"{upload.name}: {detail}"


def _failure_reasons(client: CocuClient, intake: Intake) -> Iterator[str]:
    for upload in intake.failed[:MAX_REASONS]:
        yield _reason(upload)
    if len(intake.failed) > MAX_REASONS:
        yield f"and {len(intake.failed) - MAX_REASONS:,} more files that could not be read"
    if intake.report.reasons:
        yield reasons(intake.report)
    if intake.report.notes:
        yield f"noted: {notes(intake.report)}"
    for reason in list(intake.report.reasons)[:MAX_REASONS]:
        for example in client.datasets.rejections(intake.dataset.id, reason=reason, limit=1):
            yield f"{example.member or example.key or example.upload}: {example.detail}"
    for upload in intake.uploads:
        if upload.state != "failed":
            yield f"{upload.name} was read as {_reading(upload)}"
            break
    if "fetch_not_asked" in intake.report.reasons:
        yield "to fetch images given by URL: cocu dataset add … --fetch"


def _is_retryable(intake: Intake) -> bool:
    # A file that was fetched and cannot be read would be the same when it is read again.
    unfetched = any(upload.source and upload.sha256 is None for upload in intake.failed)
    return unfetched or "fetch_failed" in intake.report.reasons


def _delete_if_empty(client: CocuClient, target: Target) -> bool:
    """Delete the dataset if this command created it and it has no samples; return whether it was deleted."""
    if not target.is_new or client.datasets.get(target.dataset.id).samples:
        return False
    client.datasets.delete(target.dataset.id)
    return True
