"""The process of the vector store is killed again and again while points are written and searched."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cocu.errors import UnavailableError
from cocu.vectors import ArchivedConcept, Archives, Vectors

OURS = {"encoder": "e1", "tenant": "acme", "dataset": "d1"}
KILLS = max(3, int(os.environ.get("COCU_TEST_KILLS", "6")) // 2)
TASKS, TASK = 40, 250
CONCEPTS = 20

pytestmark = pytest.mark.timeout(600)


def write(vectors: Vectors, task: int) -> None:
    """One task's points: what they hold depends on the task alone."""
    drawn = np.random.default_rng(task)
    archives = Archives(
        "c",
        np.arange(TASK + 1) * 3,
        drawn.integers(0, CONCEPTS, TASK * 3),
        drawn.uniform(-6, 2, TASK * 3),
        drawn.random(TASK * 3) < 0.5,
    )
    vectors.upsert_samples(
        **OURS,  # type: ignore[arg-type]
        keys=[f"{task}/{number}" for number in range(TASK)],
        first_row=task * TASK,
        embeddings_ND=drawn.normal(size=(TASK, 32)).astype(np.float16),
        archives=[archives],
    )


def contents(vectors: Vectors) -> object:
    """What the store answers: counts, concepts, and the nearest of some vectors."""
    queries = np.random.default_rng(99).normal(size=(20, 32))
    return (
        vectors.count(**OURS),
        vectors.facets(**OURS, curation="c"),
        [
            vectors.count(**OURS, concepts=[ArchivedConcept("c", 3, band, added=True)])
            for band in range(-4, 1)
        ],
        [[(hit.key, hit.row, hit.score) for hit in vectors.search(**OURS, vector_D=q)] for q in queries],
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> object:
    vectors = Vectors.open(str(tmp_path_factory.mktemp("undisturbed") / "vectors"))
    vectors.ensure_collection(encoder="e1", dimensions=32)
    for task in range(TASKS):
        write(vectors, task)
    held = contents(vectors)
    vectors.close()
    return held


def test_the_store_is_killed_and_nothing_is_lost(tmp_path: Path, undisturbed: object) -> None:
    """kill -9 of the store's process, at random: the platform starts it again and goes on."""
    vectors = Vectors.open(str(tmp_path / "vectors"))
    vectors.ensure_collection(encoder="e1", dimensions=32)
    ended, kills = threading.Event(), 0
    chance = random.Random(5)

    def kill() -> None:
        nonlocal kills
        while not ended.wait(chance.uniform(0.05, 0.6)):
            process = vectors._backend._process  # type: ignore[attr-defined]
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    rounds = 0
    while kills < KILLS or not rounds:
        for task in range(TASKS):
            # Two kills within one request are an outage, after which a task is tried again.
            while True:
                try:
                    write(vectors, task)
                except UnavailableError:
                    time.sleep(0.1)
                else:
                    break
        rounds += 1
    ended.set()
    killer.join()
    if vectors.lost:
        for task in range(TASKS):
            write(vectors, task)
    assert contents(vectors) == undisturbed
    vectors.close()


PLATFORM = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from cocu.vectors import Vectors
from tests.faults.test_vectors_killed import TASKS, write
folder, done = Path(sys.argv[1]), Path(sys.argv[2])
vectors = Vectors.open(str(folder))
vectors.ensure_collection(encoder="e1", dimensions=32)
for task in range(TASKS):
    if not (done / str(task)).exists():
        write(vectors, task)
        (done / str(task)).touch()
vectors.close()
"""


def test_the_platform_is_killed_and_what_was_acknowledged_is_there(
    tmp_path: Path, undisturbed: object
) -> None:
    """kill -9 of whoever writes: tasks that it has ended are never done again, and their points are there."""
    done = tmp_path / "done"
    done.mkdir()
    chance = random.Random(6)
    kills = 0
    while len(list(done.iterdir())) < TASKS:
        command = [sys.executable, "-c", PLATFORM.format(path=sys.path), str(tmp_path / "vectors"), str(done)]
        with subprocess.Popen(command) as platform:
            try:
                # Long enough to begin, and, late in the test, to end.
                assert platform.wait(chance.uniform(1.5, 4.0) if kills < KILLS else 300) == 0
            except subprocess.TimeoutExpired:
                platform.kill()
                kills += 1
    vectors = Vectors.open(str(tmp_path / "vectors"))
    assert contents(vectors) == undisturbed
    assert vectors.lost == 0
    vectors.close()
