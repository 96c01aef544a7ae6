"""gzip of answers of the API: bytes saved and processor time, by level.

The answers are pages of a curated synthetic dataset of 20,000 samples: archives with their origins, the table
of concepts, samples. Sizes and times at each level are printed; the bound is about the level that is used.
"""

from __future__ import annotations

import gzip
import tempfile
from functools import partial
from pathlib import Path

import httpx

from benchmarks.archive_lookup import serving
from benchmarks.filled_platform import fill
from benchmarks.report import measure, report
from benchmarks.synthetic import make_dataset
from cocu.curation.parameters import CurationParameters
from cocu.http.compression import LEVEL

SAMPLES = 20_000
LEVELS = (1, 3, LEVEL, 6, 9)
BOUND = 5.0


def main() -> None:
    """Print bytes and milliseconds of each answer at each level, and how much smaller all of them become."""
    dataset = make_dataset(samples=SAMPLES, dim=64)
    with tempfile.TemporaryDirectory() as folder:
        curation = fill(Path(folder), dataset, CurationParameters(neighbours=16, scoring="set"))
        with serving(Path(folder)) as url, httpx.Client(base_url=url, timeout=60) as client:
            of_dataset = client.get(f"/v1/curations/{curation}").json()["dataset"]
            links = {
                "60 archives": f"/v1/curations/{curation}/archives?limit=60",
                "1,000 concepts": f"/v1/curations/{curation}/concepts?limit=1000",
                "60 samples": f"/v1/datasets/{of_dataset}/samples?limit=60",
            }
            bodies = {name: client.get(link).raise_for_status().content for name, link in links.items()}
    saved = []
    for name, body in bodies.items():
        sizes = {level: len(gzip.compress(body, level)) for level in LEVELS}
        times = {level: measure(partial(gzip.compress, body, level)).processor for level in LEVELS}
        shown = ", ".join(f"{sizes[level]:,} in {1000 * times[level]:.1f} ms ({level})" for level in LEVELS)
        print(f"{name}, {len(body):,} bytes: {shown}")
        saved.append(len(body) / sizes[LEVEL])
    report("gzip: bytes / bytes sent, least of three", min(saved), "x", f">= {BOUND:g}", min(saved) >= BOUND)


if __name__ == "__main__":
    main()
