"""Waiting for work of a platform, also while the platform restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from cocu.client.exceptions import ConnectionFailedError, UnavailableError

State = TypeVar("State")

OUTAGE_SECONDS = 120.0
"""How long to wait for a platform that does not answer: a restart or an upgrade."""
OUTAGE_POLL_SECONDS = 2.0
"""The longest pause between two requests to a platform that does not answer."""


def wait_until(
    get_state: Callable[[], State],
    is_done: Callable[[State], bool],
    *,
    doing: Callable[[State], str],
    progress: Callable[[State], None] | None = None,
    outage: Callable[[str], None] | None = None,
    timeout: float | None = None,
    every: float = 0.25,
) -> State:
    """Poll until `is_done` holds and return that state; `progress` is called with every state.

    outage: is called once for each outage, with the error. Raises the error of `get_state` when an outage
    lasts longer than OUTAGE_SECONDS (or `timeout`). Raises TimeoutError, with the text of `doing`, after
    `timeout` seconds.
    """
    start = time.monotonic()
    last_answer = None
    in_outage = False
    longest_outage = OUTAGE_SECONDS if timeout is None else min(timeout, OUTAGE_SECONDS)
    while True:
        try:
            state = get_state()
        except (ConnectionFailedError, UnavailableError) as error:
            # Without any answer yet, a wrong address is more likely than a restart.
            if last_answer is None or time.monotonic() - last_answer >= longest_outage:
                raise
            if not in_outage and outage is not None:
                outage(str(error))
            in_outage = True
            time.sleep(max(every, min(OUTAGE_POLL_SECONDS, longest_outage / 4)))
            continue
        last_answer, in_outage = time.monotonic(), False
        if progress is not None:
            progress(state)
        if is_done(state):
            return state
        if timeout is not None and time.monotonic() - start >= timeout:
            raise TimeoutError(f"{doing(state)} after {timeout:g} s")
        time.sleep(every)


def wait_until_computed(look: Callable[[], State], *, timeout: float) -> State:
    """Return what `look` returns, called again while the platform answers 503 because it computes it.

    Raises UnavailableError, which says what is computed, after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return look()
        except UnavailableError:
            if time.monotonic() >= end:
                raise
