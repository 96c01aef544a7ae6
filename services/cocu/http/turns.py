"""Turns: a limit of the requests that run at once, so that none waits for all earlier ones.

A request with a turn uses the event loop and the threads; one that waits for a turn uses neither. So new
connections are accepted, and health checks answered, within milliseconds under any load.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_CONCURRENT: Final = 2 * (os.cpu_count() or 1)
"""The most requests that run at once: more would only wait for the interpreter lock."""
MAX_TURN_SECONDS: Final = 0.25
"""A turn ends after this time, so that a request that waits for something slow does not block others."""
HEALTH: Final = ("/healthz", "/readyz")
"""Paths that are answered however many requests wait."""
REST: Final = "/v1/"
"""Requests below this path need a turn. A page of the dashboard waits for requests that have one each, and
would keep them waiting if it held one itself."""


class Turns:
    """ASGI middleware that lets requests wait for their turn, in the order in which they came.

    A turn ends when the answer begins or after MAX_TURN_SECONDS; a request that waits for its client has no
    turn. max_waiting: the number of waiting requests from which `refuses` is true for new ones. root_path: a
    prefix of every path that a proxy does not remove.
    """

    def __init__(
        self, app: ASGIApp, *, max_concurrent: int = MAX_CONCURRENT, max_waiting: int, root_path: str = ""
    ) -> None:
        self.app = app
        self._free = max_concurrent
        self._max_waiting = max_waiting
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._health = {prefix + path for prefix in ("", root_path) for path in HEALTH}
        self._rest = (REST, root_path + REST)

    def refuses(self, path: str) -> bool:
        """Return whether too many requests wait, so that a request to this path must be refused."""
        return len(self._waiting) >= self._max_waiting and path not in self._health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when it has a turn."""
        if scope["type"] != "http" or not scope["path"].startswith(self._rest):
            await self.app(scope, receive, send)
            return
        turn: asyncio.TimerHandle | None = None

        async def begin() -> None:
            nonlocal turn
            await self._begin()
            turn = asyncio.get_running_loop().call_later(MAX_TURN_SECONDS, end)

        def end() -> None:
            nonlocal turn
            if turn is not None:
                turn.cancel()
                turn = None
                # In the next round of the loop, so that the loop also serves connections in between.
                asyncio.get_running_loop().call_soon(self._end)

        async def receive_without_turn() -> Message:
            if turn is None:
                return await receive()
            end()
            message = await receive()
            await begin()
            return message

        async def send_after_turn(message: Message) -> None:
            end()
            await send(message)

        await begin()
        try:
            await self.app(scope, receive_without_turn, send_after_turn)
        finally:
            end()

    async def _begin(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # The turn was given to this request just before it was cancelled: pass it on, or it is lost.
            if turn.done() and not turn.cancelled():
                self._end()
            raise

    def _end(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            # A turn that is done was cancelled: its request waits no more.
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
