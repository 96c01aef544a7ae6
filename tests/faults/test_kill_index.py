"""kill -9 while shards are put into a folder of vectors: it ends complete, archives included."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.faults.fault_counts import KILLS
from tests.faults.test_kill import outcome_of, start
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.catalog import Catalog, models, tasks
from cocu.catalog.states import Stage, TaskState

OF_VECTORS = (Stage.INDEX, Stage.INDEX_CONCEPTS)
PATIENCE = 120.0


def index_again(catalog: Catalog) -> None:
    """All shards are to be put there again, as after a loss."""
    done = select(models.Task.id).where(
        models.Task.stage.in_(OF_VECTORS), models.Task.state == TaskState.DONE
    )
    with catalog.write() as connection:
        for task_id in list(connection.execute(done).scalars()):
            tasks.restart(connection, task_id=task_id, requested=True)


def wait_for_index(catalog: Catalog) -> None:
    """Waits until a worker is at such a task."""
    running = select(models.Task.id).where(
        models.Task.stage.in_(OF_VECTORS), models.Task.state == TaskState.RUNNING
    )
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with catalog.read() as connection:
            if connection.execute(running.limit(1)).first() is not None:
                return
        time.sleep(0.002)
    raise AssertionError("no shard is put into the vector store")


@pytest.mark.slow
@pytest.mark.timeout(300 + 20 * KILLS)
def test_killed_while_indexing__the_store_ends_complete(tmp_path: Path, repository: Path) -> None:
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    expected = outcome_of(start(tmp_path / "undisturbed", tmp_path / "encoders", repository))
    assert expected["concepts"]
    outcome_of(start(tmp_path / "killed", tmp_path / "encoders", repository))

    catalog = Catalog.open(f"sqlite:///{tmp_path / 'killed' / 'catalog.sqlite'}")
    for kill in range(KILLS):
        index_again(catalog)
        process = start(tmp_path / "killed", tmp_path / "encoders", repository)
        wait_for_index(catalog)
        time.sleep(0.02 * (kill % 10))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    catalog.close()
    assert outcome_of(start(tmp_path / "killed", tmp_path / "encoders", repository)) == expected
