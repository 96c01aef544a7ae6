"""Reading ahead: an iterator whose items are made on another thread before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")


class _End:
    """Comes after the last item."""


_END: Final = _End()


def read_ahead(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """The same items, up to `count` of them held ready. What making one raises comes in its place.

    Closing this closes `items` as well, once the item that is being made is there.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="reading-ahead")
    pending: deque[Future[Item | _End]] = deque()
    try:
        pending.extend(thread.submit(_next, items) for _ in range(count))
        while not isinstance(item := pending.popleft().result(), _End):
            pending.append(thread.submit(_next, items))
            yield item
    finally:
        for future in pending:
            future.cancel()
        thread.submit(items.close)
        thread.shutdown(wait=False)


def _next(items: Generator[Item, None, None]) -> Item | _End:
    return next(items, _END)
