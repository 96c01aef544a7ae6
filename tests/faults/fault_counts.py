"""The number of faults in a run: few for every day, or all of them (`make faults`).

COCU_TEST_KILLS=50 COCU_TEST_DISTURBANCES=10 python -m pytest tests/faults
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

KILLS = int(os.environ.get("COCU_TEST_KILLS", "3"))
"""The number of processes that are killed in one run."""
DISTURBANCES = int(os.environ.get("COCU_TEST_DISTURBANCES", "2"))
"""The number of times that a server is disturbed in one run."""
COMPLETE = DISTURBANCES > 3
"""Whether every variant of a disturbance is tried."""


def cases(*everything: T, short: int = 1) -> Sequence[T]:
    """Return all cases in a complete run, otherwise the first `short` of them."""
    return everything if COMPLETE else everything[:short]
