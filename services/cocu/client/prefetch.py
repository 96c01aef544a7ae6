"""Prefetching: an iterator whose next items are computed on another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")


class _End:
    """Stands after the last item."""


_END: Final = _End()


def prefetch_items(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """The same items, up to `count` of them ready in advance.

    An error of `items` is raised when its turn comes. Closing this generator also closes `items`, after the
    item in progress.
    """
    # One thread only: a generator cannot run in two threads at the same time.
    thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    pending: deque[Future[Item | _End]] = deque()
    try:
        pending.extend(thread.submit(_next, items) for _ in range(count))
        while not isinstance(item := pending.popleft().result(), _End):
            pending.append(thread.submit(_next, items))
            yield item
    finally:
        for future in pending:
            future.cancel()
        # On the same thread, so that it runs after the item in progress and never beside it.
        thread.submit(items.close)
        thread.shutdown(wait=False)


def _next(items: Generator[Item, None, None]) -> Item | _End:
    return next(items, _END)
