"""The two forms of these tests: a short one for every day, and all of it (`make faults`).

COCU_TEST_KILLS=50 COCU_TEST_DISTURBANCES=10 python -m pytest tests/faults
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

KILLS = int(os.environ.get("COCU_TEST_KILLS", "4"))
"""Processes that are killed in one run."""
DISTURBANCES = int(os.environ.get("COCU_TEST_DISTURBANCES", "2"))
"""How often a server is disturbed in one run."""
WHOLE = DISTURBANCES > 3
"""Whether every variant of a disturbance is tried."""


def cases(*everything: T, short: int = 1) -> Sequence[T]:
    """The first of them, so many as the short form has; all of them in the whole form."""
    return everything if WHOLE else everything[:short]
