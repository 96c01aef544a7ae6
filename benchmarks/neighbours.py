"""Exact neighbours on the CPU against a batched search of faiss's IndexFlatIP, on the same data.

Both answer the same queries among 100,000 rows of 512 dimensions; faiss holds them in float32 in memory, ours
reads float16. Compared by processor time, which other work on the machine disturbs little; wall-clock time is
printed beside it. The limit is what a matrix product alone would take (2·N·D operations a query).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import report
from benchmarks.synthetic import make_dataset
from cocu.neighbours import top_neighbours

ROWS = 100_000
QUERIES = 4_096
COUNT = 16
RUNS = 3


def main() -> None:
    """Measure, check that both find the same sets up to ties, and report."""
    stored_ND = make_dataset(samples=ROWS).images_ND.astype(np.float16)
    shards = [stored_ND[start : start + 10_000] for start in range(0, ROWS, 10_000)]
    floats_ND = stored_ND.astype(np.float32)
    index = faiss.IndexFlatIP(floats_ND.shape[1])
    index.add(floats_ND)

    def ours() -> NDArray[np.int64]:
        return top_neighbours(shards, range(QUERIES), count=COUNT).ids_QL

    def theirs() -> NDArray[np.int64]:
        # One more, as the query finds itself.
        return index.search(floats_ND[:QUERIES], COUNT + 1)[1]

    top_neighbours(shards, range(8), count=COUNT)  # compiles
    differing = _rows_that_differ(ours(), theirs(), stored_ND)
    seconds = [(_seconds(ours), _seconds(theirs)) for _ in range(RUNS)]
    ratio, wall_ratio = (
        statistics.median(theirs_s[clock] / ours_s[clock] for ours_s, theirs_s in seconds) for clock in (0, 1)
    )
    own, other = (
        QUERIES / statistics.median(run.processor for run in column) for column in zip(*seconds, strict=True)
    )
    limit = _gemm_rate(floats_ND) / (2 * ROWS * floats_ND.shape[1])
    print(f"{ROWS:,} × {floats_ND.shape[1]}, L = {COUNT}; queries a second of processor time:")
    print(f"ours {own:,.0f}, faiss {other:,.0f}, GEMM limit {limit:,.0f} (ours is {own / limit:.0%} of it)")
    print(f"by wall-clock time ours is {wall_ratio:.2f} x faiss")
    report("neighbours identical sets", differing, "rows that differ beyond ties", "== 0", differing == 0)
    report("neighbours", ratio, "x faiss IndexFlatIP batched", ">= 0.8", ratio >= 0.8)


class Seconds(NamedTuple):
    """Processor time of all threads, and wall-clock time."""

    processor: float
    wall: float


def _seconds(run: Callable[[], object]) -> Seconds:
    processor, wall = time.process_time(), time.perf_counter()
    run()
    return Seconds(time.process_time() - processor, time.perf_counter() - wall)


def _rows_that_differ(
    ours_QL: NDArray[np.int64], theirs_QM: NDArray[np.int64], rows_ND: NDArray[np.float16]
) -> int:
    """Rows whose sets differ by more than exchanging members that float32 cannot tell apart."""
    differing = 0
    for query, (ours_L, theirs_M) in enumerate(zip(ours_QL, theirs_QM, strict=True)):
        theirs_L = theirs_M[theirs_M != query][: len(ours_L)]
        only_ours, only_theirs = np.setdiff1d(ours_L, theirs_L), np.setdiff1d(theirs_L, ours_L)
        query_D = rows_ND[query].astype(np.float64)
        exchanged = np.sort(rows_ND[only_ours] @ query_D) - np.sort(rows_ND[only_theirs] @ query_D)
        differing += int(np.abs(exchanged).max(initial=0.0) > 1e-6)
    return differing


def _gemm_rate(floats_ND: NDArray[np.float32]) -> float:
    """Floating-point operations a second of a product that stays in the cache."""
    left, right = floats_ND[:2048], floats_ND[2048:4096]
    out = np.empty((2048, 2048), np.float32)
    fastest = min(_seconds(lambda: np.matmul(left, right.T, out=out)).processor for _ in range(10))
    return 2 * 2048 * 2048 * floats_ND.shape[1] / fastest


if __name__ == "__main__":
    main()
