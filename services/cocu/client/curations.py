"""Curations: start, follow and cancel them; their archives and evaluations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from cocu.client import exports
from cocu.client.exceptions import ClientError, CurationFailedError
from cocu.client.projections import Columns, receive_columns
from cocu.client.server_sent_events import follow
from cocu.client.transport import Call, Transport, segment
from cocu.client.wait import wait_until
from cocu.schemas import (
    CocoInstances,
    Curation,
    CurationCreate,
    CurationEstimate,
    CurationEvent,
    CurationOrder,
    CurationPreview,
    CurationState,
    Evaluation,
    EvaluationCreate,
    ExportFormat,
    ExportManifest,
    Parameters,
    TaskFailure,
    ThresholdSet,
)
from cocu.text.encodings import read_text


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
        """Start a curation of the dataset as it is now; the same call again returns the same curation."""
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
        """The curation that `create` would start, and its cost; nothing is started."""
        body = CurationCreate(vocabulary=vocabulary, encoder=encoder, parameters=parameters or Parameters())
        path = f"/v1/datasets/{segment(dataset)}/curations"
        return self._transport.post(CurationEstimate, path, body, params={"dry_run": True}, idempotent=True)

    def preview(
        self,
        dataset: str,
        *,
        vocabulary: str | None = None,
        encoder: str | None = None,
        parameters: Parameters | None = None,
        count: int = 10,
    ) -> CurationPreview:
        """The archives that a few samples would have, always the same ones; nothing is started.

        Raises ConflictError until a curation with this encoder and vocabulary is completed.
        """
        body = CurationCreate(vocabulary=vocabulary, encoder=encoder, parameters=parameters or Parameters())
        path = f"/v1/datasets/{segment(dataset)}/curations"
        return self._transport.post(CurationPreview, path, body, params={"preview": count}, idempotent=True)

    def list(
        self,
        *,
        dataset: str | None = None,
        state: Sequence[CurationState] = (),
        order: CurationOrder | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Curation]:
        """The curations, or those of one dataset or in some states; oldest first, at most `limit`."""
        params = {"dataset": dataset, "state": list(state) or None, "order": order}
        return self._transport.pages(
            Curation, "/v1/curations", params=params, limit=limit, page_size=page_size
        )

    def set_threshold(self, curation: str, score: float | None) -> Curation:
        """Set the score from which a concept counts as added; None for none."""
        content = ThresholdSet(score=score).model_dump_json().encode()
        call = Call(
            method="PUT",
            path=f"{_path(curation)}/threshold",
            headers={"Content-Type": "application/json"},
            content=lambda: [content],
            size=len(content),
        )
        return self._transport.parse(Curation, self._transport.send(call))

    def failures(
        self, curation: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[TaskFailure]:
        """The tasks of a curation that failed, given up or tried again, by stage; at most `limit`."""
        return self._transport.pages(
            TaskFailure, f"{_path(curation)}/failures", limit=limit, page_size=page_size
        )

    def get(self, curation: str) -> Curation:
        """One curation by id."""
        return self._transport.get(Curation, _path(curation))

    def cancel(self, curation: str) -> None:
        """Cancel a curation; its unfinished results cannot be read."""
        self._transport.send(Call(method="DELETE", path=_path(curation)))

    def wait(
        self,
        curation: str,
        *,
        progress: Callable[[Curation], None] | None = None,
        outage: Callable[[str], None] | None = None,
        timeout: float | None = None,
        every: float = 0.25,
    ) -> Curation:
        """Wait for a curation and return it completed; `progress` is called with each state until then.

        Waiting goes on while the platform restarts (see `wait_until`); `outage` is called with the reason.
        Raises CurationFailedError when it fails or is cancelled, TimeoutError after `timeout` seconds.
        """
        seen = wait_until(
            lambda: self.get(curation),
            lambda state: state.finished,
            doing=lambda state: f"curation {curation} is still {state.state}",
            progress=progress,
            outage=outage,
            timeout=timeout,
            every=every,
        )
        if not seen.completed:
            raise CurationFailedError(seen)
        return seen

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
        """Write a completed curation to a folder, shard by shard; files that the folder has already are kept.

        See `exports.export`.
        """
        parameters = exports.ExportParameters(
            format, images=images, max_concepts=max_concepts, clusters=clusters
        )
        return exports.export(self._transport, _path(curation), Path(folder), parameters, progress=progress)

    def columns(self, curation: str, projection: str, columns: Sequence[str]) -> Columns:
        """Numbers of archives for the points of a projection, in the order of the points.

        columns: at most 8 of gain (uint16), best_added (float32, NaN without any), changed (uint8: 0, 1) and
        concept:NAME (uint8: 0 not there, 1 named by the caption, 2 added).
        """
        params = {"projection": projection, "columns": ",".join(columns)}
        return receive_columns(self._transport, f"{_path(curation)}/columns", params)

    def events(self, curation: str, *, after: int = 0, reconnects: int = 5) -> Iterator[CurationEvent]:
        """Every event after this id until the curation ends; a lost connection is resumed."""
        path = f"{_path(curation)}/events"
        return follow(self._transport, path, CurationEvent, after=after, reconnects=reconnects)


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
        kept: str | None = None,
        label_map: str | None = None,
    ) -> Evaluation:
        """Measure archives against a table key → labels, COCO instances (see `read_labels`), or the labels
        that the dataset keeps under the name `kept`.
        """
        fields: dict[str, object] = {"label_map": label_map}
        if labels is not None:
            fields["labels"] = {key: list(names) for key, names in labels.items()}
        if instances is not None:
            fields["instances"] = instances
        if kept is not None:
            fields["kept"] = kept
        body = EvaluationCreate.model_validate(fields)
        return self._transport.post(Evaluation, f"{_path(curation)}/evaluations", body)

    def list(
        self, curation: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[Evaluation]:
        """The evaluations of a curation, newest first; at most `limit`."""
        path = f"{_path(curation)}/evaluations"
        return self._transport.pages(Evaluation, path, limit=limit, page_size=page_size)

    def get(self, curation: str, evaluation: str) -> Evaluation:
        """One evaluation."""
        return self._transport.get(Evaluation, f"{_path(curation)}/evaluations/{segment(evaluation)}")


def read_labels(path: str | Path) -> dict[str, list[str]] | CocoInstances:
    """Labels from a JSON file: COCO (instances, panoptic), or a table key → labels, alone or under
    `samples`.

    Of a COCO file only images, categories and their assignment are kept; masks are never sent.
    Raises ClientError when the file is neither, or a table has an image twice.
    """
    repeated: list[tuple[dict[str, object], str]] = []

    def fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
        named = dict(pairs)
        if len(named) < len(pairs):
            repeated.append((named, Counter(name for name, _ in pairs).most_common(1)[0][0]))
        return named

    try:
        content = json.loads(read_text(Path(path)), object_pairs_hook=fields)
    except (OSError, ValueError, RecursionError) as error:
        raise ClientError(f"cannot read labels from {path}: {error}") from error
    try:
        if isinstance(content, dict) and "annotations" in content:
            return CocoInstances.model_validate(content)
        if isinstance(content, dict) and isinstance(content.get("samples"), dict):
            content = content["samples"]
        for named, name in repeated:
            if named is content:
                raise ValueError(f"{name!r} is there twice; give all labels of an image in one list")
        return EvaluationCreate(labels=content).labels or {}
    except ValueError as error:
        raise ClientError(
            f"{path} is neither a COCO instances or panoptic file nor a table of key → list of labels: "
            f"{_first_problem(error)}"
        ) from error


def _first_problem(error: ValueError) -> str:
    """What is wrong with a label file, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


def _path(curation: str) -> str:
    return f"/v1/curations/{segment(curation)}"
