"""The last line of every benchmark: one JSON object, what was measured and whether its bound holds."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """Medians over several runs, in seconds: processor time of all threads, and wall-clock time."""

    processor: float
    wall: float


def measure(run: Callable[[], object], *, repeats: int = 3) -> Timing:
    """Run once to warm up (compile, fill caches), then `repeats` times; the medians."""
    run()
    processor, wall = [], []
    for _ in range(repeats):
        started = time.process_time(), time.perf_counter()
        run()
        processor.append(time.process_time() - started[0])
        wall.append(time.perf_counter() - started[1])
    return Timing(processor=statistics.median(processor), wall=statistics.median(wall))


def report(benchmark: str, value: float, unit: str, bound: str, holds: bool) -> None:
    """Print the JSON object; `bound` in words and figures, such as ">= 5000"."""
    rounded = float(f"{value:.4g}")
    line = {"benchmark": benchmark, "value": rounded, "unit": unit, "bound": bound, "holds": bool(holds)}
    print(json.dumps(line), flush=True)
