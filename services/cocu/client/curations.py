"""Curations: start, follow, cancel; their archives and evaluations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from cocu.client import exports
from cocu.client.exceptions import ClientError, ConnectionFailedError, CurationFailedError
from cocu.client.models import (
    Archive,
    CocoInstances,
    Curation,
    CurationCreate,
    CurationEstimate,
    CurationEvent,
    Evaluation,
    EvaluationCreate,
    ExportFormat,
    ExportManifest,
    Parameters,
)
from cocu.client.server_sent_events import data_of_events
from cocu.client.transport import Call, Transport, segment


class Curations:
    """`client.curations`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        dataset: str,
        *,
        vocabulary: str | None = None,
        encoder: str | None = None,
        parameters: Parameters | None = None,
    ) -> Curation:
        """Start a curation of the dataset as it is now; asking again answers the same curation."""
        body = CurationCreate(vocabulary=vocabulary, encoder=encoder, parameters=parameters or Parameters())
        path = f"/v1/datasets/{segment(dataset)}/curations"
        return self._transport.post(Curation, path, body)

    def estimate(
        self,
        dataset: str,
        *,
        vocabulary: str | None = None,
        encoder: str | None = None,
        parameters: Parameters | None = None,
    ) -> CurationEstimate:
        """What `create` would start, and what that costs; nothing is started."""
        body = CurationCreate(vocabulary=vocabulary, encoder=encoder, parameters=parameters or Parameters())
        path = f"/v1/datasets/{segment(dataset)}/curations"
        return self._transport.post(CurationEstimate, path, body, params={"dry_run": True}, idempotent=True)

    def list(self, *, dataset: str | None = None) -> Iterator[Curation]:
        """Every curation, newest first, or those of one dataset."""
        return self._transport.pages(Curation, "/v1/curations", params={"dataset": dataset})

    def get(self, curation: str) -> Curation:
        """One curation by id."""
        return self._transport.get(Curation, _path(curation))

    def cancel(self, curation: str) -> None:
        """Stop a curation; what it had made is not kept for reading."""
        self._transport.send(Call(method="DELETE", path=_path(curation)))

    def wait(
        self,
        curation: str,
        *,
        progress: Callable[[Curation], None] | None = None,
        timeout: float | None = None,
        every: float = 0.25,
    ) -> Curation:
        """The curation once it is completed; `progress` is called with each state seen on the way.

        Raises CurationFailedError when it fails or is cancelled, TimeoutError after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = self.get(curation)
            if progress is not None:
                progress(seen)
            if seen.completed:
                return seen
            if seen.finished:
                raise CurationFailedError(seen)
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"curation {curation} is still {seen.state} after {timeout:g} s")
            time.sleep(every)

    def export(
        self,
        curation: str,
        folder: str | Path,
        format: ExportFormat = "webdataset",
        *,
        images: bool = True,
        max_concepts: int | None = None,
        clusters: bool = False,
        progress: exports.Progress | None = None,
    ) -> ExportManifest:
        """Write a completed curation to a folder, shard by shard; files that are there already stay.

        See `exports.export`.
        """
        asked = exports.Asked(format, images=images, max_concepts=max_concepts, clusters=clusters)
        return exports.export(self._transport, _path(curation), Path(folder), asked, progress=progress)

    def events(self, curation: str, *, after: int = 0, reconnects: int = 5) -> Iterator[CurationEvent]:
        """Every event after this id until the curation ends; a lost connection is taken up again."""
        last, failures = after, 0
        while True:
            try:
                for event in self._events_of_one_connection(curation, last):
                    last, failures = event.id, 0
                    yield event
                return
            except (ConnectionFailedError, httpx.TransportError) as error:
                failures += 1
                if failures > reconnects:
                    raise ConnectionFailedError(
                        f"the events of curation {curation} broke off: {error}"
                    ) from error
                time.sleep(0.2 * 2**failures)

    def _events_of_one_connection(self, curation: str, last: int) -> Iterator[CurationEvent]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        with self._transport.stream(Call(path=f"{_path(curation)}/events", headers=headers)) as answer:
            for data in data_of_events(answer.iter_bytes()):
                yield CurationEvent.model_validate_json(data)


class Archives:
    """`client.archives`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        curation: str,
        *,
        concept: str | None = None,
        added: bool | None = None,
        min_score: float | None = None,
        changed: bool | None = None,
        limit: int | None = None,
    ) -> Iterator[Archive]:
        """The archives of a curation in sample order, fetched page by page (of `limit`) as they are consumed.

        With filters, only archives that hold at least one concept satisfying all of them; archives come
        whole.
        concept: it has this name. added: the own caption does not (True) or does (False) name it. min_score:
        it scores at least this. changed: the neighbours are (True) or are not (False) others than in the
        curation before the dataset grew.
        """
        params = {"concept": concept, "added": added, "min_score": min_score}
        params |= {"changed": changed, "limit": limit}
        return self._transport.pages(Archive, f"{_path(curation)}/archives", params=params)

    def get(self, curation: str, key: str) -> Archive:
        """The archive of one sample."""
        return self._transport.get(Archive, f"{_path(curation)}/archives/{segment(key)}")


class Evaluations:
    """`client.evaluations`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        curation: str,
        *,
        labels: Mapping[str, Sequence[str]] | None = None,
        instances: CocoInstances | None = None,
        label_map: str | None = None,
    ) -> Evaluation:
        """Measure archives against a table key → labels, or COCO instances (see `read_labels`)."""
        given: dict[str, object] = {"label_map": label_map}
        if labels is not None:
            given["labels"] = {key: list(names) for key, names in labels.items()}
        if instances is not None:
            given["instances"] = instances
        body = EvaluationCreate.model_validate(given)
        return self._transport.post(Evaluation, f"{_path(curation)}/evaluations", body)

    def list(self, curation: str) -> Iterator[Evaluation]:
        """The evaluations of a curation, newest first."""
        return self._transport.pages(Evaluation, f"{_path(curation)}/evaluations")

    def get(self, curation: str, evaluation: str) -> Evaluation:
        """One evaluation."""
        return self._transport.get(Evaluation, f"{_path(curation)}/evaluations/{segment(evaluation)}")


def read_labels(path: str | Path) -> dict[str, list[str]] | CocoInstances:
    """Labels from a JSON file: COCO instances, or a table of sample key → labels, alone or under `samples`.

    Of a COCO file only what says what is in which picture is kept, so that masks are never sent.
    Raises ClientError when the file is neither.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClientError(f"cannot read labels from {path}: {error}") from error
    try:
        if isinstance(content, dict) and "annotations" in content:
            return CocoInstances.model_validate(content)
        if isinstance(content, dict) and isinstance(content.get("samples"), dict):
            content = content["samples"]
        return EvaluationCreate(labels=content).labels or {}
    except ValueError as error:
        raise ClientError(
            f"{path} is neither a COCO instances file nor a table of key → list of labels"
        ) from error


def _path(curation: str) -> str:
    return f"/v1/curations/{segment(curation)}"
