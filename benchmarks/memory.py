"""Peak memory of neighbours and curation of one shard, in a dataset of 20,000 and of 200,000 samples.

Work is by the shard, so what one shard takes is what a worker takes. It may grow with the dataset only by
what there is one of per sample: its mentions (8 bytes, and 8 for each concept named, 2.5 on average) and its
duplicate group (8): 36 bytes. The embeddings, 1,024 bytes a sample, stay in their files. Each size is
measured in a process of its own; peak memory is the kernel's (VmHWM), pages of mapped files included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.report import report
from cocu.curation.archives import Mentions
from cocu.curation.curate import curate
from cocu.curation.parameters import CurationParameters
from cocu.neighbours import distinct_neighbours, top_neighbours

SIZES = (20_000, 200_000)
SHARD = 10_000
DIM = 512
CONCEPTS = 3_805
COUNT = 16
BYTES_PER_SAMPLE = 48
"""The 36 above and room for the index arrays of the pieces in work."""


def main() -> None:
    """Write the embeddings, measure both sizes, and report how much each further sample takes."""
    with tempfile.TemporaryDirectory() as folder:
        _write_shards(Path(folder), max(SIZES))
        peaks = [_measure(Path(folder), size) for size in SIZES]
    for size, (start, neighbours, curated) in zip(SIZES, peaks, strict=True):
        print(
            f"{size:,} samples: {start >> 20} MiB once loaded, peak {neighbours >> 20} MiB after neighbours, "
            f"{curated >> 20} MiB after curation of a shard"
        )
    growth = (peaks[1][2] - peaks[0][2]) / (SIZES[1] - SIZES[0])
    print(f"the embeddings of {SIZES[1]:,} samples are {SIZES[1] * DIM * 2 >> 20} MiB")
    report("memory", growth, "bytes per further sample", f"<= {BYTES_PER_SAMPLE}", growth <= BYTES_PER_SAMPLE)


def _write_shards(folder: Path, size: int) -> None:
    random = np.random.default_rng(0)
    centres_TD = random.standard_normal((200, DIM), np.float32)
    for number in range(size // SHARD):
        topics_N = random.integers(0, 200, SHARD)
        topics_N = random.integers(0, 200, SHARD)
        rows_ND = centres_TD[topics_N] + random.standard_normal((SHARD, DIM), np.float32)
        rows_ND /= np.linalg.norm(rows_ND, axis=1, keepdims=True)
        np.save(folder / f"{number:05d}.npy", rows_ND.astype(np.float16))


def _measure(folder: Path, size: int) -> tuple[int, int, int]:
    command = [sys.executable, "-m", "benchmarks.memory", str(folder), str(size)]
    outcome = subprocess.run(command, check=True, capture_output=True, text=True)
    start, neighbours, curated = map(int, outcome.stdout.split())
    return start, neighbours, curated


def _work(folder: Path, size: int) -> None:
    """What a worker does with the first shard; prints the peaks before, after neighbours, after curation."""
    embeddings = [np.load(folder / f"{number:05d}.npy", mmap_mode="r") for number in range(size // SHARD)]
    print(_peak())
    anchors = range(SHARD)
    raw = top_neighbours(embeddings, anchors, count=COUNT + 8)
    lists = distinct_neighbours(
        embeddings,
        anchors,
        ids_BK=raw.ids_QL,
        similarities_BK=raw.similarities_QL,
        groups_N=np.arange(size),
        count=COUNT,
    )
    print(_peak())
    random = np.random.default_rng(0)
    concepts_VD = random.standard_normal((CONCEPTS, DIM), np.float32)
    concepts_VD /= np.linalg.norm(concepts_VD, axis=1, keepdims=True)
    curate(
        mentions=_mentions(size),
        anchors_B=np.arange(SHARD),
        neighbours_BL=lists.ids_BL,
        neighbour_similarities_BL=lists.similarities_BL,
        images_BD=embeddings[0].astype(np.float32),
        concepts_VD=concepts_VD,
        names=[f"concept {number}" for number in range(CONCEPTS)],
        parameters=CurationParameters(neighbours=COUNT, scoring="set"),
    )
    print(_peak())


def _mentions(size: int) -> Mentions:
    """Two and three concepts by turns, spread over the vocabulary."""
    offsets_N1 = np.arange(size + 1, dtype=np.int64) * 5 // 2
    concepts_M = np.empty(offsets_N1[-1], np.int32)
    # In place and in pieces: what the benchmark itself takes must not count.
    for start in range(0, size, SHARD):
        owners_M = np.repeat(np.arange(start, start + SHARD), np.diff(offsets_N1[start : start + SHARD + 1]))
        positions_M = np.arange(offsets_N1[start], offsets_N1[start + SHARD]) - offsets_N1[owners_M]
        concepts_M[offsets_N1[start] : offsets_N1[start + SHARD]] = owners_M * 7 % 1000 + positions_M * 1000
    return Mentions(offsets_N1, concepts_M, np.full(len(concepts_M), 0.25, np.float32))


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) << 10


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _work(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
