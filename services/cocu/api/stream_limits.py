"""Limits of concurrent uploads and streams, by kind: each holds memory, threads or a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, Request

from cocu.errors import UnavailableError
from cocu.http import descriptors
from cocu.settings import Settings

Kind = Literal["batches", "exports", "events", "uploads"]


class StreamLimits:
    """Counts the streams of each kind. Not thread-safe: use it only in the event loop."""

    def __init__(self, settings: Settings) -> None:
        connections = descriptors.connections_within(
            descriptors.raise_limit(), requested=settings.max_connections
        )
        # Streams may last for hours; all together they leave more than half of the connections to others.
        limit = max(1, connections // 8)
        self._limits: Mapping[Kind, int] = {
            "batches": min(settings.max_batch_streams, limit),
            "exports": min(settings.max_exports, limit),
            "events": min(settings.max_followers, limit),
            # As many as connections. Not without limit: an upload whose connection was closed to make room
            # for another keeps its file open until it notices.
            "uploads": connections,
        }
        self._open: dict[Kind, int] = dict.fromkeys(self._limits, 0)

    def begin(self, kind: Kind) -> None:
        """Count a new stream. Raises UnavailableError where the limit is reached."""
        if self._open[kind] >= self._limits[kind]:
            raise UnavailableError(
                f"{self._limits[kind]} {kind} are under way, which is the limit; try again later"
            )
        self._open[kind] += 1

    def end(self, kind: Kind) -> None:
        """Count the end of a stream."""
        self._open[kind] -= 1


def count_streams(kind: Kind) -> Any:
    """Return a dependency that counts a stream until its answer ends, in any way."""

    async def counted(request: Request) -> AsyncIterator[None]:
        streams: StreamLimits = request.app.state.streams
        streams.begin(kind)
        try:
            yield
        finally:
            streams.end(kind)

    return Depends(counted, scope="request")


BatchStream = Annotated[None, count_streams("batches")]
ExportStream = Annotated[None, count_streams("exports")]
EventStream = Annotated[None, count_streams("events")]
UploadStream = Annotated[None, count_streams("uploads")]
