"""Exact neighbours on a GPU: the top 8 of every one of 2.75 million rows of 512 dimensions.

The rows lie in host memory as float16, as shards of 10,000 do on disk; searching reads, checks and copies
them too. A sample of the queries is searched on the processor as well, which must give the same lists to the
bit. The limit is what the products alone would take at the rate of a large product of float16 matrices.

    python -m benchmarks.neighbours_gpu [rows]
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import report
from cocu.neighbours import top_neighbours

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch

ROWS, DIM, COUNT = 2_750_000, 512, 8
SHARD = 10_000
A_TOPIC = 50
"""Rows around a common centre, as images of like things are."""
CHECKED = 256
MEMORY = 8 << 30
"""Bytes that the search may take: the fewer, the more often are the rows read."""
LONGEST_SECONDS = 60.0
SIDE = 8_192


def main() -> None:
    """Measure, check a sample, and report."""
    if not HAS_TORCH or not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {count:,} × {DIM}, top {COUNT}")
    shards = random_shards(count)
    top_neighbours(shards[:2], range(64), count=COUNT, engine="cuda")
    started = time.perf_counter()
    neighbours = top_neighbours(shards, range(count), count=COUNT, engine="cuda", memory=MEMORY)
    seconds = time.perf_counter() - started
    checked_C = np.sort(np.random.default_rng(0).choice(count, CHECKED, replace=False))
    expected = top_neighbours(shards, checked_C, count=COUNT, engine="cpu")
    differing = int((neighbours.ids_QL[checked_C] != expected.ids_QL).any(1).sum())
    rate, least = product_rate(), 2 * count**2 * DIM
    print(
        f"{seconds:.1f} s, {least / seconds / 1e12:.0f} TFLOP/s of products: {least / seconds / rate:.1%} of "
        f"the {rate / 1e12:.0f} TFLOP/s of a product of float16 matrices of {SIDE:,}, which would take "
        f"{least / rate:.1f} s"
    )
    report(
        "neighbours gpu, same lists as the processor's",
        differing,
        f"of {CHECKED} lists differ",
        "== 0",
        differing == 0,
    )
    report("neighbours gpu, of the rate of a product", least / seconds / rate, "x", "none is set", holds=True)
    holds = seconds < LONGEST_SECONDS and count >= ROWS
    report(
        "neighbours gpu", seconds, f"s for {count:,} rows", f"< {LONGEST_SECONDS:.0f}, {ROWS:,} rows", holds
    )


def random_shards(count: int) -> list[NDArray[np.float16]]:
    """Unit rows around centres, a shard at a time on the device."""
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device="cuda", generator=generator)

    topics_TD = torch.nn.functional.normalize(normal(-(-count // A_TOPIC), DIM))
    shards = []
    for start in range(0, count, SHARD):
        rows = min(SHARD, count - start)
        # Rows of a topic lie in any shards.
        topics = torch.randint(len(topics_TD), (rows,), device="cuda", generator=generator)
        rows_ND = topics_TD[topics] + 0.7 * torch.nn.functional.normalize(normal(rows, DIM))
        shards.append(torch.nn.functional.normalize(rows_ND).half().cpu().numpy())
    return shards


def product_rate() -> float:
    """Operations a second of a large product of float16 matrices; the median of several."""
    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.float16) for _ in range(2))

    def products(repeats: int) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(repeats):
            left @ right
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / repeats

    products(3)
    return 2 * SIDE**3 / statistics.median(products(20) for _ in range(5))


if __name__ == "__main__":
    main()
