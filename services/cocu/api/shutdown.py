"""Shutdown: bodies that cannot arrive in time are refused, and the client is told to send them again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException

RECEIVING_SECONDS = 2.0
"""How long a body may still arrive when the server stops; less than the time it gives to answers."""
RETRY_SECONDS = 5
STOPPED = "the server was stopped before the file had arrived; send it again"
_POLL_SECONDS = 0.25


class StoppedError(HTTPException):
    """The server stops; the client may send the same request again."""

    def __init__(self) -> None:
        super().__init__(
            503,
            "The server is being stopped; send the request again in some seconds.",
            headers={"Retry-After": str(RETRY_SECONDS), "Connection": "close"},
        )


@asynccontextmanager
async def until_stopped(stopping: threading.Event) -> AsyncIterator[None]:
    """Cancel the block and raise StoppedError if it still runs RECEIVING_SECONDS after `stopping` is set."""
    try:
        async with asyncio.timeout(None) as deadline:
            watcher = asyncio.create_task(_watch(stopping, deadline))
            try:
                yield
            finally:
                watcher.cancel()
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise StoppedError from error


async def _watch(stopping: threading.Event, deadline: asyncio.Timeout) -> None:
    # `stopping` is a threading.Event, which a task cannot await: poll it.
    while not stopping.is_set():
        await asyncio.sleep(_POLL_SECONDS)
    deadline.reschedule(asyncio.get_running_loop().time() + RECEIVING_SECONDS)
