"""What the clients of a platform and of a training service have in common."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from cocu.client.transport import Transport
from cocu.schemas import Health


class ServiceClient:
    """A client of one service; its connections end with the context, or with `close`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(base_url, api_key, timeout=timeout, retries=retries, transport=transport)
        self.base_url = self._transport.base_url

    def health(self) -> Health:
        """Whether the service and its parts are ready; raises UnavailableError while they are not."""
        return self._transport.get(Health, "/readyz")

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
