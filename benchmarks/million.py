"""A million samples through the stages of a curation, on this machine: wall time and peak memory of each.

Embeddings and captions are synthetic (512 dimensions, 2.5 concepts a caption) and lie where ingest and
`embed` would have put them; everything after that is what workers do, one task after the other in one
process, which is what one worker process does. Peak memory is the kernel's (VmHWM, reset before each stage);
it includes pages of mapped files.

The extrapolation to 12 million assumes: stages by the shard take as long per shard, the search in cells
grows with rows × probed rows (2·√N cells, the same number of probes), `ivf` with rows × cells, the rest
with rows; one worker process. More workers divide the stages by the shard, and not `ivf`, `aggregate` and
`publish`.

    python -m benchmarks.million [samples]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select, update

from benchmarks.filled_platform import TENANT, ingest
from benchmarks.report import report
from benchmarks.synthetic import SyntheticDataset, make_dataset
from cocu.catalog import curations, models
from cocu.catalog.curations import CurationRecord
from cocu.curation.parameters import CurationParameters
from cocu.curation.vocabulary import Vocabulary
from cocu.neighbours.ivf import cell_count
from cocu.pipeline import submit
from cocu.pipeline.worker import run_task
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage import arrays, paths

SAMPLES = 1_000_000
EXTRAPOLATED = 12_000_000
ENCODER = "0" * 64
MEMORY_BOUND = 4 << 30
"""Of a worker process; the chart's default limit for one."""


@dataclass
class Measured:
    """What the tasks of one stage took together."""

    seconds: float = 0.0
    peak: int = 0
    tasks: int = 0


def main() -> None:
    """Write the dataset, run the stages, and print a line for each."""
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    folder = Path(tempfile.mkdtemp(prefix="million-"))
    try:
        # No vector store listens there: search is not part of this.
        settings = Settings(data_folder=folder, vectors_url="http://127.0.0.1:9")
        with Platform.open(settings) as platform:
            curation = _prepare(platform, samples)
            measured = _run(platform, curation)
            done = curations.of_task(platform.catalog, curation_id=curation.id)
            if done.state != "completed":
                raise RuntimeError(f"the curation ended as {done.state}: {done.error}")
            _tell(measured, done, samples)
    finally:
        shutil.rmtree(folder)


def _prepare(platform: Platform, samples: int) -> CurationRecord:
    # In a function of its own, so that the dataset's arrays are let go before anything is measured.
    dataset = make_dataset(samples=samples)
    dataset_id = ingest(platform, dataset)
    vocabulary = Vocabulary.from_lines("\n".join(dataset.names), name="synthetic")
    record, _ = platform.vocabularies.add(tenant=TENANT, vocabulary=vocabulary, source="uploaded")
    _write_embeddings(platform, dataset_id, dataset, vocabulary, record.hash)
    parameters = CurationParameters(search="ivf")
    created = submit.create_curation(
        platform.catalog,
        tenant=TENANT,
        dataset_id=dataset_id,
        encoder="synthetic",
        encoder_hash=ENCODER,
        vocabulary_id=record.id,
        vocabulary_hash=record.hash,
        parameters=asdict(parameters),
        parameters_hash=parameters.hash,
    )
    return created.curation


def _write_embeddings(
    platform: Platform,
    dataset_id: str,
    dataset: SyntheticDataset,
    vocabulary: Vocabulary,
    vocabulary_hash: str,
) -> None:
    objects, random, first = platform.objects, np.random.default_rng(0), 0
    for name in objects.list(f"datasets/{dataset_id}/samples"):
        shard_id = Path(name).stem
        images_ND = dataset.images_ND[first : first + 10_000]
        arrays.write_embeddings(objects, paths.embeddings(dataset_id, ENCODER, shard_id), images_ND)
        phashes_N = random.integers(0, 2**63, len(images_ND), dtype=np.uint64)
        arrays.write_arrays(
            objects,
            paths.phashes(dataset_id, ENCODER, shard_id),
            {"fingerprints_N": phashes_N, "pictured_N": np.ones(len(images_ND), np.uint8)},
        )
        first += len(images_ND)
    # A vocabulary is sorted by name, the dataset's concepts are not.
    concept_ids = {name: number for number, name in enumerate(dataset.names)}
    concepts_VD = dataset.concepts_VD[[concept_ids[name] for name in vocabulary.names]]
    arrays.write_arrays(
        objects, paths.concept_embeddings(ENCODER, vocabulary_hash), {"concepts_VD": concepts_VD}
    )


def _run(platform: Platform, curation: CurationRecord) -> dict[str, Measured]:
    """Runs the tasks in the order in which they are planned; `index` needs a server and is left out."""
    measured: dict[str, Measured] = {}
    stopping = threading.Event()
    while True:
        pending = _pending(platform)
        if not pending:
            return measured
        for task_id, stage in pending:
            figures = measured.setdefault(stage, Measured())
            _reset_peak()
            start = time.perf_counter()
            run_task(platform, task_id, stopping=stopping)
            figures.seconds += time.perf_counter() - start
            figures.peak = max(figures.peak, _peak())
            figures.tasks += 1
            if sys.stderr.isatty():
                print(f"\r{stage}: {figures.tasks} tasks, {figures.seconds:.0f} s ", end="", file=sys.stderr)


def _pending(platform: Platform) -> list[tuple[str, str]]:
    task = models.Task
    with platform.catalog.write() as connection:
        connection.execute(update(task).where(task.stage == "index").values(state="done"))
        statement = select(task.id, task.stage).where(task.state == "pending").order_by(task.target)
        return [(row.id, row.stage) for row in connection.execute(statement)]


def _tell(measured: dict[str, Measured], done: CurationRecord, samples: int) -> None:
    statistics = done.statistics or {}
    print(f"{samples:,} samples × 512, one process; {statistics['concepts_added']:,} concepts added")
    print(
        f"neighbours: {statistics['cells_probed']} of {cell_count(samples):,} cells looked through, "
        f"{statistics['neighbour_recall']:.4f} of the true neighbours found (measured on 512 rows)"
    )
    factor = EXTRAPOLATED / samples
    cells_factor = cell_count(EXTRAPOLATED) / cell_count(samples)
    growth = {"ivf": factor * cells_factor, "neighbours": factor * factor / cells_factor}
    total = extrapolated = 0.0
    for stage, figures in measured.items():
        longer = figures.seconds * growth.get(stage, factor)
        total, extrapolated = total + figures.seconds, extrapolated + longer
        print(
            f"{stage:>11}: {figures.seconds:8.1f} s in {figures.tasks} tasks, "
            f"{samples / figures.seconds:9,.0f} samples/s, "
            f"peak {figures.peak >> 20:6,} MiB; {EXTRAPOLATED:,}: {longer / 3600:.1f} h"
        )
    print(f"{'all':>11}: {total:8.1f} s; {EXTRAPOLATED:,} with one worker: {extrapolated / 3600:.1f} h")
    peak = max(figures.peak for figures in measured.values())
    report(
        "million recall",
        statistics["neighbour_recall"],
        "of true neighbours",
        ">= 0.95",
        statistics["neighbour_recall"] >= 0.95,
    )
    report("million", peak, "bytes of peak memory", f"<= {MEMORY_BOUND}", peak <= MEMORY_BOUND)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) << 10


if __name__ == "__main__":
    main()
