"""Looking up one archive over HTTP among 100,000 samples: latency as one client sees it, warm.

The platform runs in a process of its own on localhost, the catalog is SQLite, the archives are those of a
synthetic dataset (L = 16, about 25 concepts each). The alternative is the same server answering /healthz,
which is what HTTP itself takes here. Keys are drawn at random, none twice; warm means that the tables of
captions (one per shard) have been read once.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx

from benchmarks.filled_platform import fill, key_of
from benchmarks.report import report
from benchmarks.synthetic import make_dataset
from cocu.curation.parameters import CurationParameters

SAMPLES = 100_000
LOOKUPS = 2_000
WARM_UP = 300
BOUND = 20.0


def main() -> None:
    """Print latencies of lookups and of what else is asked about a curation."""
    dataset = make_dataset(samples=SAMPLES, dim=64)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        curation = fill(Path(folder), dataset, CurationParameters(neighbours=16, scoring="set"))
        print(f"{SAMPLES:,} samples curated and written in {time.perf_counter() - started:.0f} s")
        with serving(Path(folder)) as url, httpx.Client(base_url=url, timeout=60) as client:
            lookup(client, curation)
            for path in ("", "?limit=1000&order=added", "/concept%20100", "/concept%200"):
                milliseconds = sorted(
                    timed(client, f"/v1/curations/{curation}/concepts{path}") for _ in range(9)
                )
                print(f"GET …/concepts{path}: median {milliseconds[4]:.1f} ms")
            lookups = lookup(client, curation)
    report(
        "archive lookup p99", percentile(lookups, 99), "ms", f"< {BOUND:g}", percentile(lookups, 99) < BOUND
    )


def lookup(client: httpx.Client, curation: str) -> list[float]:
    """Milliseconds of each lookup, after a warm-up."""
    keys = [key_of(row) for row in random.Random(0).sample(range(SAMPLES), LOOKUPS + WARM_UP)]
    paths = [f"/v1/curations/{curation}/archives/{quote(key, safe='')}" for key in keys]
    for path in paths[:WARM_UP]:
        timed(client, path)
    nothing = [timed(client, "/healthz") for _ in range(WARM_UP)]
    timings = [timed(client, path) for path in paths[WARM_UP:]]
    for name, values in (("/healthz", nothing), ("archive", timings)):
        shown = ", ".join(f"p{percent} {percentile(values, percent):.1f}" for percent in (50, 90, 99, 99.9))
        print(f"{name}: {shown} ms")
    return timings


def timed(client: httpx.Client, path: str) -> float:
    """Milliseconds of one request."""
    started = time.perf_counter()
    answer = client.get(path)
    elapsed = time.perf_counter() - started
    answer.raise_for_status()
    return elapsed * 1000


def percentile(values: list[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


@contextmanager
def serving(folder: Path, encoder: Path | None = None) -> Iterator[str]:
    """The address of a platform over this folder, in a process of its own; by default with ours."""
    encoder = encoder or Path(__file__).parent.parent / "examples" / "encoders" / "scenes"
    command = [sys.executable, "-m", "cocu", "serve", "--port", "0"]
    command += ["--data", str(folder), "--encoder", str(encoder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[2].rstrip(",")
        finally:
            process.terminate()
            process.stdout.read()


if __name__ == "__main__":
    main()
