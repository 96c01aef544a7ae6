"""Projections: maps of the images of a dataset. Their points need pyarrow, which reads Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cocu.client.exceptions import ProjectionFailedError
from cocu.client.record_batches import receive_batch
from cocu.client.transport import Call, Transport, segment
from cocu.client.wait import wait_until
from cocu.schemas import Projection, ProjectionCreate, ProjectionMethod, ProjectionMethods

Columns = Mapping[str, Any]
"""Arrays of numpy by name, all of the same length."""


class Projections:
    """`client.projections`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        dataset: str,
        *,
        encoder: str | None = None,
        method: ProjectionMethod | None = None,
        seed: int = 0,
    ) -> Projection:
        """Start to make a map of a dataset as it is now; the same call again returns the same projection.

        encoder: whose embeddings are shown, by id or name; None for the default of the platform. method: None
        for the best that the platform has. Raises ConflictError where none of its samples is embedded.
        """
        body = ProjectionCreate(encoder=encoder, method=method, seed=seed)
        return self._transport.post(Projection, _path(dataset), body)

    def methods(self) -> ProjectionMethods:
        """How the platform can make a projection."""
        return self._transport.get(ProjectionMethods, "/v1/projections/methods")

    def list(
        self,
        dataset: str,
        *,
        curation: str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Projection]:
        """The projections of a dataset, newest first, without their regions; at most `limit`.

        curation: only those that show the samples of this completed curation.
        """
        params = {"curation": curation}
        return self._transport.pages(
            Projection, _path(dataset), params=params, limit=limit, page_size=page_size
        )

    def get(self, dataset: str, projection: str, *, curation: str | None = None) -> Projection:
        """One projection; its regions are labelled by this curation, or by the newest of the dataset."""
        params = {"curation": curation}
        return self._transport.get(Projection, f"{_path(dataset)}/{segment(projection)}", params=params)

    def wait(
        self,
        dataset: str,
        projection: str,
        *,
        progress: Callable[[Projection], None] | None = None,
        timeout: float | None = None,
        every: float = 0.25,
    ) -> Projection:
        """Wait for a projection and return it completed; `progress` is called with each state until then.

        Raises ProjectionFailedError when it fails, TimeoutError after `timeout` seconds.
        """
        seen = wait_until(
            lambda: self.get(dataset, projection),
            lambda state: state.finished,
            doing=lambda state: f"projection {projection} is still {state.state}",
            progress=progress,
            timeout=timeout,
            every=every,
        )
        if not seen.completed:
            raise ProjectionFailedError(seen)
        return seen

    def points(self, dataset: str, projection: str) -> Columns:
        """The points in random order: x, y (uint16), row (uint32, global), region (uint8)."""
        return receive_columns(self._transport, f"{_path(dataset)}/{segment(projection)}/points")

    def image(self, dataset: str, projection: str) -> bytes:
        """A picture of how dense the map is, PNG."""
        call = Call(path=f"{_path(dataset)}/{segment(projection)}/image")
        return self._transport.send(call).content


def receive_columns(transport: Transport, path: str, params: Mapping[str, Any] | None = None) -> Columns:
    """Return the columns of an Arrow stream of one record batch.

    Raises UnexpectedAnswerError where the answer is something else.
    """
    batch = receive_batch(transport, path, params)
    return {name: batch.column(name).to_numpy() for name in batch.schema.names}


def _path(dataset: str) -> str:
    return f"/v1/datasets/{segment(dataset)}/projections"
