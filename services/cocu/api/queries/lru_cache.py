"""A cache of immutable values that many requests need."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """Keeps the `room` most recently used values of one kind; safe to use from many threads.

    size_of: the size of a value, in any unit; all values together have at most `max_size`, and a value that
    is larger by itself is not kept.
    """

    def __init__(
        self, room: int, *, size_of: Callable[[Value], int] = lambda value: 0, max_size: int = 0
    ) -> None:
        self._room, self._max_size = room, max_size
        self._size_of = size_of
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._size = 0

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of this key, made by `make` where it is not cached. Raises what `make` raises."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        # Without the lock: two requests may make the same value twice, but neither waits for the other.
        value = make()
        self.put(key, value)
        return value

    def find(self, key: Key) -> Value | None:
        """Return the value of this key, None where it is not cached."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Key, value: Value) -> None:
        """Cache a value, in place of an earlier one of this key."""
        size = self._size_of(value)
        with self._lock:
            if key in self._values:
                self._size -= self._size_of(self._values.pop(key))
            if size > self._max_size:
                return
            self._values[key] = value
            self._size += size
            while len(self._values) > self._room or self._size > self._max_size:
                _, dropped = self._values.popitem(last=False)
                self._size -= self._size_of(dropped)
