"""The typed client of a training service: submit runs, follow them, read their figures and files."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from cocu.client.exceptions import ConnectionFailedError
from cocu.client.server_sent_events import follow
from cocu.client.service_client import ServiceClient
from cocu.client.transport import Call, Transport, segment
from cocu.schemas import Page
from cocu.schemas.training import (
    ArmName,
    ModelName,
    Run,
    RunCreate,
    RunEvent,
    RunFile,
    RunOrder,
    RunResults,
    RunSeries,
    RunState,
)


class TrainingClient(ServiceClient):
    """A client of one training service.

        with TrainingClient("http://127.0.0.1:8100") as training:
            run = training.runs.create(curation.id, preset="scenes", arm="cluster")
            for event in training.runs.events(run.id):
                print(event.kind, event.values)
            print(training.runs.series(run.id).evaluations["mean_iou"].value)

    `api_key` is one of the service, which has its own. Retries, `timeout` and errors are as of `CocuClient`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key, timeout=timeout, retries=retries, transport=transport)
        self.runs = Runs(self._transport)


class Runs:
    """`training.runs`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        curation: str,
        *,
        preset: ModelName | None = None,
        arm: ArmName | None = None,
        configuration: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Run:
        """Queue a run on a completed curation; configuration: fields that differ from the preset's.

        Raises InvalidInputError, which names the field, ConflictError while the curation is not completed,
        UnavailableError where the queue is full.
        """
        fields = {"preset": preset, "arm": arm, "configuration": configuration, "name": name}
        stated = {field: value for field, value in fields.items() if value is not None}
        body = RunCreate.model_validate({"curation": curation, **stated})
        return self._transport.post(Run, "/v1/runs", body)

    def list(
        self,
        *,
        curation: str | None = None,
        state: RunState | None = None,
        order: RunOrder | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Run]:
        """The runs, or those on one curation or in one state; oldest first, at most `limit`."""
        params = {"curation": curation, "state": state, "order": order}
        return self._transport.pages(Run, "/v1/runs", params=params, limit=limit, page_size=page_size)

    def page(
        self,
        *,
        curation: str | None = None,
        order: RunOrder | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Run]:
        """One page of the runs; its `next` is the cursor of the following."""
        params = {"curation": curation, "order": order, "limit": limit, "cursor": cursor}
        return self._transport.get(Page[Run], "/v1/runs", params=params)

    def get(self, run: str) -> Run:
        """One run: its state, how far it is, its latest figures."""
        return self._transport.get(Run, _path(run))

    def stop(self, run: str) -> Run:
        """Stop a run; one that trains writes a checkpoint first. Raises ConflictError where it has ended."""
        call = Call(method="POST", path=f"{_path(run)}/stop", idempotent=True)
        return self._transport.parse(Run, self._transport.send(call))

    def resume(self, run: str) -> Run:
        """Queue a run that stopped or failed; it goes on from its last checkpoint. Raises ConflictError.

        It is sent once: a second attempt would find the run queued, and be refused.
        """
        with self._transport.stream(Call(method="POST", path=f"{_path(run)}/resume")) as answer:
            with _connected("the answer"):
                answer.read()
            return self._transport.parse(Run, answer)

    def delete(self, run: str) -> None:
        """Delete a run with its files. Raises ConflictError while it trains."""
        self._transport.send(Call(method="DELETE", path=_path(run)))

    def events(self, run: str, *, after: int = 0, reconnects: int = 5) -> Generator[RunEvent, None, None]:
        """Every event after this id until the run ends; a lost connection is resumed."""
        path = f"{_path(run)}/events"
        return follow(self._transport, path, RunEvent, after=after, reconnects=reconnects)

    def results(self, run: str) -> RunResults:
        """The latest figures, every evaluation, and the files."""
        return self._transport.get(RunResults, f"{_path(run)}/results")

    def series(self, run: str, *, points: int | None = None) -> RunSeries:
        """The figures over the steps, each with at most so many points (4 to 5,000; by default 500)."""
        return self._transport.get(RunSeries, f"{_path(run)}/series", params={"points": points})

    def files(self, run: str) -> Iterator[RunFile]:
        """The files of a run, by name."""
        return self._transport.pages(RunFile, f"{_path(run)}/files")

    def file(self, run: str, name: str, *, last: int | None = None) -> bytes:
        """The bytes of a file, or only the last ones; for large files there is `download`."""
        headers = {} if last is None else {"Range": f"bytes=-{last}"}
        return self._transport.send(Call(path=_file_path(run, name), headers=headers)).content

    def download(self, run: str, name: str, target: str | Path) -> Path:
        """Write a file of a run to a path, piece by piece; the path appears when it is complete."""
        path = Path(target)
        partial = path.with_name(f"{path.name}.partial")
        call = Call(path=_file_path(run, name))
        with self._transport.stream(call) as answer, partial.open("wb") as file, _connected(name):
            for piece in answer.iter_bytes():
                file.write(piece)
        return partial.replace(path)


@contextmanager
def _connected(what: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise ConnectionFailedError(f"{what} did not arrive: the connection broke off ({error})") from error


def _path(run: str) -> str:
    return f"/v1/runs/{segment(run)}"


def _file_path(run: str, name: str) -> str:
    return f"{_path(run)}/files/{'/'.join(segment(part) for part in name.split('/'))}"
