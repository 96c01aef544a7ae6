"""Speed of the scenes generator: images with caption, labels and mask per second of one core.

python -m benchmarks.scenes
"""

from __future__ import annotations

import statistics
import tempfile
import time

import cocu_scenes
from benchmarks.report import report

BOUND = 200.0
RUNS, IMAGES = 5, 300


def images_per_second(start: int) -> float:
    """Scenes generated per second of processor time of this process."""
    begun = time.process_time()
    generated = sum(1 for _ in cocu_scenes.generate(1, start, IMAGES))
    return generated / (time.process_time() - begun)


def written_per_second() -> float:
    """The same with JPEG, PNG, JSON and tar written."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        cocu_scenes.write_scenes(folder, seed=1, count=IMAGES)
        return IMAGES / (time.process_time() - begun)


def main() -> None:
    """Median of several runs, after one that fills the caches."""
    images_per_second(0)
    speeds = [images_per_second(IMAGES * (run + 1)) for run in range(RUNS)]
    written = statistics.median(written_per_second() for _ in range(3))
    median = statistics.median(speeds)
    print(
        f"generated: {median:.0f} images/s per core ({min(speeds):.0f} to {max(speeds):.0f} in {RUNS} runs)"
    )
    print(f"generated, encoded and written as shards: {written:.0f} images/s per core")
    report("scenes", median, "images/s per core", f">= {BOUND:g}", holds=median >= BOUND)


if __name__ == "__main__":
    main()
