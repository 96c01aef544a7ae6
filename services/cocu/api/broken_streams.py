"""Answers that fail after they have begun, because the data was deleted or is damaged.

The status has been sent by then, so the connection is closed before the end of the body: every client then
knows that the answer is incomplete. The log gets one line instead of a trace.
"""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocu.errors import CocuError

logger = logging.getLogger(__name__)


class BrokenStreams:
    """ASGI middleware that ends answers that have begun and then fail with an error of the platform."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. The server closes the connection of an incomplete answer."""
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            cause = _of_platform(error)
            if not has_begun or cause is None:
                raise
            logger.warning("%s %s broke off: %s", scope.get("method"), scope.get("path"), cause)


def _of_platform(error: BaseException | None) -> CocuError | None:
    """Return the error of the platform that this error is, or was caused by."""
    while error is not None:
        if isinstance(error, CocuError):
            return error
        error = error.__cause__
    return None
