"""Readiness: whether the parts of a platform answer; concurrent probes share one check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cocu.errors import UnavailableError
from cocu.platform import Platform

READY_SECONDS: Final = 5.0
"""How long the parts may take to answer."""


class Readiness:
    """Checks the parts in a thread of its own, so that no probe waits for the threads of requests."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._checking: asyncio.Future[dict[str, str]] | None = None

    async def parts(self) -> dict[str, str]:
        """Return the state of every part.

        Raises UnavailableError where the catalog or the objects do not answer, or not in time.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().run_in_executor(self._thread, self._check)
            # Retrieve the error, or asyncio logs it as never retrieved when every waiting probe timed out.
            self._checking.add_done_callback(lambda checked: checked.cancelled() or checked.exception())
        try:
            return await asyncio.wait_for(asyncio.shield(self._checking), READY_SECONDS)
        except TimeoutError as error:
            raise UnavailableError(
                f"the parts of the platform have not answered for {READY_SECONDS:g} seconds"
            ) from error

    def _check(self) -> dict[str, str]:
        platform = self._platform
        platform.catalog.check()
        platform.objects.exists("ready")
        parts = {"catalog": "ok", "objects": "ok"}
        if not platform.settings.embedded:
            parts["broker"] = _state(platform.check_broker)
        if "://" in platform.settings.vectors_url:
            parts["vectors"] = _state(platform.vectors.check)
        return parts


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except UnavailableError:
        return "unavailable"
    return "ok"
