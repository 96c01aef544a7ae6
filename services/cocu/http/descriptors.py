"""Limits of open files and connections of this process."""

from __future__ import annotations

import resource

MIN_RESERVE = 32
MAX_RESERVE = 512
"""Bounds of the descriptors reserved for the catalog, other servers and libraries: 3/8 of all."""
PER_CONNECTION = 2
"""Descriptors per connection: its own, and that of the file which it receives or sends."""
MIN_CONNECTIONS = 8


def raise_limit() -> int:
    """Raise the limit of open files of this process to its hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # some systems state a hard limit that they do not grant
            return soft
    return hard


def connections_within(limit: int, *, requested: int) -> int:
    """Return how many of the requested connections fit into a limit of open files."""
    if limit == resource.RLIM_INFINITY:
        return requested
    reserve = max(MIN_RESERVE, min(limit * 3 // 8, MAX_RESERVE))
    return min(requested, max(MIN_CONNECTIONS, (limit - reserve) // PER_CONNECTION))
