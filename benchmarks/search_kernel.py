"""One query against 100,000 × 512 stored halves: the compiled search beside numpy, in the same run.

Both find the 20 nearest over ten mapped shards; numpy converts blocks of rows to float32, multiplies and
sorts, as searches did before. Compared by processor time on one thread, which other work on the machine
disturbs little; wall-clock time is printed beside it. The limit is reading the embeddings once from memory.

The first pass over bytes that was considered is measured too, without scoring its candidates again: the most
that such a copy could save.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from numpy.typing import NDArray

from benchmarks.report import Timing, measure, report
from benchmarks.synthetic import make_dataset
from cocu.curation.numba_cache import compiled
from cocu.neighbours.query import cosines, nearest

ROWS = 100_000
SHARD = 10_000
BLOCK = 8_192
LIMIT = 20
QUERIES = 8
REPEATS = 7
SMALLEST_RATIO = 10

Shards = list[NDArray[np.float16]]


def main() -> None:
    """Measure, check that both find the same rows up to ties, and report."""
    stored_ND = make_dataset(samples=ROWS).images_ND.astype(np.float16)
    queries_QD = stored_ND[:: ROWS // QUERIES].astype(np.float32)
    # Threads of BLAS that wait would be counted as work of numpy.
    with tempfile.TemporaryDirectory() as folder, threadpoolctl.threadpool_limits(1):
        shards = _mapped(stored_ND, Path(folder))
        query_D = queries_QD[0]
        ours = measure(lambda: _ours(shards, query_D), repeats=REPEATS)
        scores = measure(lambda: [cosines(shard, query_D) for shard in shards], repeats=REPEATS)
        theirs = measure(lambda: _numpy(shards, query_D), repeats=REPEATS)
        limit = measure(lambda: [shard.view(np.uint64).max() for shard in shards], repeats=REPEATS)
        halved = measure(_byte_pass(stored_ND, query_D), repeats=REPEATS)
        differing = sum(_differing(stored_ND, shards, query_D) for query_D in queries_QD)
        pauses = [
            _longest_pause(lambda: _ours(shards, query_D)),
            _longest_pause(lambda: _numpy(shards, query_D)),
        ]

    print(
        f"{ROWS:,} × {stored_ND.shape[1]} halves, the {LIMIT} nearest; ms of processor time (of the clock):"
    )
    print(f"ours {_ms(ours)}, of it the cosines {_ms(scores)}; numpy {_ms(theirs)}")
    print(f"reading the halves once {_ms(limit)}; the products of a copy in bytes {_ms(halved)}")
    print(f"longest pause of another thread: ours {pauses[0] * 1e3:.1f} ms, numpy {pauses[1] * 1e3:.1f} ms")
    report("search kernel rows found", differing, "rows that differ beyond ties", "== 0", differing == 0)
    ratio = theirs.processor / ours.processor
    report("search kernel", ratio, "x numpy", f">= {SMALLEST_RATIO}", ratio >= SMALLEST_RATIO)


def _mapped(stored_ND: NDArray[np.float16], folder: Path) -> Shards:
    shards = []
    for start in range(0, len(stored_ND), SHARD):
        path = folder / f"{start}.npy"
        np.save(path, stored_ND[start : start + SHARD])
        shards.append(np.load(path, mmap_mode="r"))
    return shards


def _ours(shards: Shards, query_D: NDArray[np.float32]) -> NDArray[np.int64]:
    found = nearest([(shard, None) for shard in shards], query_D, limit=LIMIT)
    return found.shards_K * SHARD + found.rows_K


def _numpy(shards: Shards, query_D: NDArray[np.float32]) -> NDArray[np.int64]:
    unit_D = query_D / np.linalg.norm(query_D)
    similarities = []
    for shard in shards:
        cosines_R, rows_R = np.zeros(len(shard), np.float32), np.arange(len(shard))
        for start in range(0, len(shard), BLOCK):
            part = slice(start, start + BLOCK)
            images_TD = shard[rows_R[part]].astype(np.float32)
            lengths_T = np.maximum(np.linalg.norm(images_TD, axis=1), np.finfo(np.float32).tiny)
            cosines_R[part] = images_TD @ unit_D / lengths_T
        similarities.append(cosines_R)
    return np.argsort(-np.concatenate(similarities), kind="stable")[:LIMIT]


def _differing(stored_ND: NDArray[np.float16], shards: Shards, query_D: NDArray[np.float32]) -> int:
    """Places whose rows differ by more than float32 can tell apart."""
    ours_K, theirs_K = _ours(shards, query_D), _numpy(shards, query_D)
    rows_ND = np.stack([stored_ND[ours_K], stored_ND[theirs_K]]).astype(np.float64)
    exact_2K = rows_ND @ query_D / np.linalg.norm(rows_ND, axis=2) / np.linalg.norm(query_D)
    return int((np.abs(exact_2K[0] - exact_2K[1]) > 1e-6).sum())


def _byte_pass(stored_ND: NDArray[np.float16], query_D: NDArray[np.float32]) -> Callable[[], object]:
    """The inner products of rows and query, each rounded to a byte a coordinate."""
    bytes_ND = np.empty(stored_ND.shape, np.int8)
    for start in range(0, len(stored_ND), SHARD):
        rows_ND = stored_ND[start : start + SHARD].astype(np.float32)
        scales_N1 = 127 / np.abs(rows_ND).max(axis=1, keepdims=True)
        bytes_ND[start : start + SHARD] = np.rint(rows_ND * scales_N1)
    bytes_D = np.rint(query_D * (127 / np.abs(query_D).max())).astype(np.int8)
    products_N = np.empty(len(bytes_ND), np.int32)
    return lambda: _byte_products(bytes_ND, bytes_D, products_N)


@compiled(nogil=True)
def _byte_products(
    bytes_ND: NDArray[np.int8], bytes_D: NDArray[np.int8], products_N: NDArray[np.int32]
) -> None:
    for row in range(len(bytes_ND)):
        product = np.int32(0)
        for d in range(len(bytes_D)):
            product += np.int32(bytes_ND[row, d]) * np.int32(bytes_D[d])
        products_N[row] = product


def _longest_pause(search: Callable[[], object]) -> float:
    """Seconds that a thread which wakes every millisecond was kept from running while searches went on."""
    longest, done = 0.0, threading.Event()

    def tick() -> None:
        nonlocal longest
        while not done.is_set():
            started = time.perf_counter()
            time.sleep(0.001)
            longest = max(longest, time.perf_counter() - started - 0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    for _ in range(REPEATS):
        search()
    done.set()
    thread.join()
    return longest


def _ms(timing: Timing) -> str:
    return f"{timing.processor * 1e3:.1f} ({timing.wall * 1e3:.1f})"


if __name__ == "__main__":
    main()
