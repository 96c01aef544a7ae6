"""An embedded platform of 100,000 samples end to end over HTTP: what its vectors cost, and what they give.

    python -m benchmarks.vector_platform [SAMPLES]

Ready embeddings (512-d) are uploaded, curated and searched; the platform runs in a process of its own with
one worker thread. Meanwhile /healthz is asked every 20 ms, and after the upload a search every half second,
until the last graph is built. Times mean something on an idle machine only, so nothing here is a ratio: the
bounds of the design are printed beside what was seen.

The limit of a search is HTTP itself: the same server answers /healthz in the time that is printed for it.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from tests import ready_embeddings
from tests.pipeline import tiny_encoder

from benchmarks.archive_lookup import percentile, serving
from benchmarks.background_work import WAIT_SECONDS, tasks, wait_for_graphs, wait_for_tasks
from benchmarks.synthetic import SyntheticDataset, make_dataset
from cocu.client import CocuClient
from cocu.schemas import UploadOptions

SAMPLES = 100_000
PARTITION = 10_000
SEARCHES = 300
HEALTH_SECONDS = 0.02
SEARCH_SECONDS = 0.5


class Pinger:
    """Asks a path again and again in a thread; the longest answer and how many failed."""

    def __init__(self, url: str, seconds: float, ask: dict[str, Any]) -> None:
        self.longest, self.answers, self.failures = 0.0, 0, 0
        self._url, self._seconds, self._ask = url, seconds, ask
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Pinger:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._ended.wait(self._seconds):
                began = time.perf_counter()
                answer = client.request(**self._ask)
                self.longest = max(self.longest, time.perf_counter() - began)
                self.answers += 1
                self.failures += answer.status_code >= 500


def main() -> None:
    """Print what was seen beside the bounds."""
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    dataset = make_dataset(samples=samples, dim=512)
    with tempfile.TemporaryDirectory(prefix="cocu-benchmark-") as name:
        folder = Path(name)
        encoder, source, vocabulary = _write_inputs(folder, dataset)
        rows: list[tuple[str, float, str, str]] = []
        with serving(folder / "data", encoder) as url:
            curation, dataset_id = _run(url, folder / "data", source, vocabulary, rows)
            _measure(url, dataset_id, curation, samples, rows)
            rows.append(("memory, API and store", _memory(folder / "data"), "MiB", "<= 1,024"))
        rows.append(("folder of vectors", _size(folder / "data" / "vectors"), "MiB", ""))
        with serving(folder / "data", encoder) as url, httpx.Client(base_url=url, timeout=60) as client:
            seconds = _search(client, dataset_id, 5)
            rows.append(("first search after a start", seconds, "s", "<= 2"))
    print(f"\n{samples:,} samples")
    for name, value, unit, bound in rows:
        print(f"  {name:<52}{value:10.3f} {unit:<4} {bound}")


def _write_inputs(folder: Path, dataset: SyntheticDataset) -> tuple[Path, Path, Path]:
    tiny_encoder.DIM = dataset.images_ND.shape[1]
    encoder = tiny_encoder.write_tiny_encoder(folder / "encoder")
    offsets, concepts = dataset.mentions.offsets_N1, dataset.mentions.concepts_M
    captions = {
        f"image-{row:08d}.jpg": "a photo of "
        + " and ".join(dataset.names[concept] for concept in concepts[offsets[row] : offsets[row + 1]])
        for row in range(len(dataset.images_ND))
    }
    files = ready_embeddings.partitioned(dataset.images_ND.astype(np.float16), captions, rows=PARTITION)
    source = ready_embeddings.write(files, folder / "source")
    vocabulary = folder / "vocabulary.txt"
    vocabulary.write_text("\n".join(dataset.names))
    return encoder, source, vocabulary


def _run(
    url: str, data: Path, source: Path, vocabulary: Path, rows: list[tuple[str, float, str, str]]
) -> tuple[str, str]:
    health = {"method": "GET", "url": "/healthz"}
    began = time.perf_counter()
    with CocuClient(url, timeout=300) as client, Pinger(url, HEALTH_SECONDS, health) as pinger:
        dataset = client.datasets.create("benchmark").id
        client.datasets.upload(dataset, source, options=UploadOptions(encoder="tiny"))
        client.datasets.wait(dataset, timeout=WAIT_SECONDS)
        names = client.vocabularies.from_file(vocabulary).id
        ask = {"dataset": dataset, "sample": "image-00000005", "limit": 20}
        searching = {"method": "POST", "url": "/v1/search", "json": ask}
        with Pinger(url, SEARCH_SECONDS, searching) as searcher:
            curation = client.curations.create(dataset, vocabulary=names).id
            client.curations.wait(curation, timeout=WAIT_SECONDS)
            rows.append(("upload and curation", time.perf_counter() - began, "s", ""))
            wait_for_tasks(data)
            rows.append(("until concepts are indexed", time.perf_counter() - began, "s", ""))
            wait_for_graphs()
            rows.append(("until the graph is built", time.perf_counter() - began, "s", ""))
        rows.append(("longest search meanwhile", 1e3 * searcher.longest, "ms", ""))
        rows.append(("searches meanwhile that failed", searcher.failures, "", "0"))
    rows.append(("longest pause of /healthz", 1e3 * pinger.longest, "ms", "<= 250"))
    stages = dict(tasks(data, "1", "stage, sum(seconds)", "GROUP BY stage"))
    rows.extend((f"stage {stage}", float(seconds or 0), "s", "") for stage, seconds in stages.items())
    both = float(stages.get("index") or 0) + float(stages.get("index_concepts") or 0)
    rows.append(("index and index_concepts, without the graph", both, "s", "<= 30"))
    return curation, dataset


def _measure(
    url: str, dataset: str, curation: str, samples: int, rows: list[tuple[str, float, str, str]]
) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        health = []
        for _ in range(SEARCHES):
            began = time.perf_counter()
            client.get("/healthz")
            health.append(1e3 * (time.perf_counter() - began))
        rows.append(("/healthz, p50", percentile(health, 50), "ms", ""))
        concept = client.get(f"/v1/curations/{curation}/concepts?limit=1").json()["items"][0]["concept"]
        filters: dict[str, dict[str, Any]] = {
            "search": {},
            "search, a concept with a score of -2 or more": {
                "curation": curation,
                "filters": {"archive": [concept], "min_score": -2},
            },
            "search, a concept whatever its score": {
                "curation": curation,
                "filters": {"archive": [concept]},
            },
        }
        for name, more in filters.items():
            _search(client, dataset, 0, **more)
            random = np.random.default_rng(0)
            taken = [
                1e3 * _search(client, dataset, int(row), **more)
                for row in random.integers(0, samples, SEARCHES)
            ]
            bounds = ("<= 25", "<= 50") if not more else ("", "")
            rows.append((f"{name}, p50", percentile(taken, 50), "ms", bounds[0]))
            rows.append((f"{name}, p99", percentile(taken, 99), "ms", bounds[1]))


def _search(client: httpx.Client, dataset: str, row: int, **more: Any) -> float:
    """Seconds of one search."""
    began = time.perf_counter()
    answer = client.post(
        "/v1/search", json={"dataset": dataset, "sample": f"image-{row:08d}", "limit": 20, **more}
    )
    taken = time.perf_counter() - began
    assert answer.status_code == 200, answer.text
    return taken


def _memory(data: Path) -> float:
    """Resident memory of the platform's processes without pages of files, in MiB."""
    total = 0
    named = str(data).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if named in path.read_bytes():
                status = (path.parent / "status").read_text()
                found = re.search(r"RssAnon:\s+(\d+)", status)
                total += int(found[1]) if found else 0
    return total / 1024


def _size(folder: Path) -> float:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*")) / 2**20


if __name__ == "__main__":
    main()
