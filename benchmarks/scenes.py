"""Speed of the scenes generator: pictures with caption, labels and mask per second of one core.

python -m benchmarks.scenes
"""

from __future__ import annotations

import statistics
import tempfile
import time

from benchmarks.report import report
from cocu.datasets import scenes

BOUND = 200.0
RUNS, PICTURES = 5, 300


def pictures_per_second(start: int) -> float:
    """Scenes generated per second of processor time of this process."""
    begun = time.process_time()
    generated = sum(1 for _ in scenes.generate(1, start, PICTURES))
    return generated / (time.process_time() - begun)


def written_per_second() -> float:
    """The same with JPEG, PNG, JSON and tar written."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        scenes.write_scenes(folder, seed=1, count=PICTURES)
        return PICTURES / (time.process_time() - begun)


def main() -> None:
    """Median of several runs, after one that fills the caches."""
    pictures_per_second(0)
    speeds = [pictures_per_second(PICTURES * (run + 1)) for run in range(RUNS)]
    written = statistics.median(written_per_second() for _ in range(3))
    median = statistics.median(speeds)
    print(
        f"generated: {median:.0f} pictures/s per core ({min(speeds):.0f} to {max(speeds):.0f} in {RUNS} runs)"
    )
    print(f"generated, encoded and written as shards: {written:.0f} pictures/s per core")
    report("scenes", median, "pictures/s per core", f">= {BOUND:g}", holds=median >= BOUND)


if __name__ == "__main__":
    main()
