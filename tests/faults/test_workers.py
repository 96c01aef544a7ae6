"""Workers that die, stop, get a message twice or have a wrong clock: the run ends with the same result."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.faults.distributed import PATIENCE, Distributed, begin, outcome, undisturbed, upload, watched
from tests.faults.fault_counts import KILLS, cases
from tests.pipeline.pipeline_driver import noise_png, some_samples, tar_of
from tests.servers.redis_server import RedisServer

from cocu.catalog.states import UNFINISHED_TASKS, TaskState
from cocu.pipeline.queue import connected_queue
from cocu.platform import Platform
from cocu.settings import Settings

SEED = int(os.environ.get("COCU_TEST_KILL_SEED", "1"))
SURE = {"lease_seconds": 60.0}
"""Settings for tests in which no lease may end because the machine is busy."""

pytestmark = pytest.mark.timeout(300 + 10 * KILLS)


def test_killing_workers_in_mid_task_again_and_again_changes_nothing(
    platform: Distributed, tiny_encoders: Path, tmp_path: Path
) -> None:
    """Some kills end one child of a worker, others the whole worker; then another worker is started."""
    # More tasks than kills: the run must not be over before the last of them.
    sizes = {"uploads": 2, "samples": 75 + 25 * (KILLS // 8)}
    expected = undisturbed(tmp_path, tiny_encoders, **sizes)
    moments = random.Random(SEED)
    patient: dict[str, Any] = {"faults": {"seconds": 0.3}, "max_lost_leases": 1000, "lease_seconds": 1.0}
    worker = platform.start_worker(processes=2, **patient)
    with platform.client() as client:
        dataset = upload(client, tmp_path, **sizes)
        curation = begin(client, tmp_path, dataset)
        killed: set[tuple[str, int]] = set()
        while len(killed) < KILLS:
            task_id, process = platform.busy(dataset, but=killed)
            time.sleep(moments.uniform(0, 0.4))
            if moments.random() < 0.25:
                worker.kill()
                worker = platform.start_worker(processes=2, wait=False, **patient)
            else:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            # Only those count that met their task before its end.
            if platform.running(dataset).get(task_id) == process:
                killed.add((task_id, process))
        assert client.curations.get(curation).finished_at is None
        actual = outcome(client, curation)

    assert actual == expected
    tasks = platform.tasks(dataset)
    assert sum(task.attempts for task in tasks) >= len(tasks) + KILLS


@pytest.mark.slow
@pytest.mark.parametrize("times", cases(4, 2))
def test_a_task_delivered_several_times_at_once_counts_once(
    platform: Distributed, expected: dict[str, Any], tmp_path: Path, times: int
) -> None:
    for _ in range(2):
        platform.start_worker(processes=2, **SURE)
    settings = Settings(**platform.settings)
    with platform.client() as client, Platform.open(settings) as opened, connected_queue(opened) as sender:
        dataset = upload(client, tmp_path)
        curation = begin(client, tmp_path, dataset)
        while client.curations.get(curation).finished_at is None:
            waiting = [task for task in platform.tasks(dataset) if task.state in UNFINISHED_TASKS]
            sender.publish((task.id, task.stage) for task in waiting for _ in range(times))
            time.sleep(0.02)
        assert outcome(client, curation) == expected
    # No task was started a second time.
    assert {task.attempts for task in platform.tasks(dataset)} == {1}


@pytest.mark.slow
def test_a_message_that_always_kills_its_worker_is_given_up(platform: Distributed, tmp_path: Path) -> None:
    """The platform counts the attempts itself: the broker would deliver the message for ever."""
    allowed = 2
    faulty: dict[str, Any] = {"faults": {"deadly_side": 13}, "max_lost_leases": allowed, "lease_seconds": 1.0}
    worker = platform.start_worker(processes=2, **faulty)
    samples = some_samples(75) | {"00030": (noise_png(30, side=13), "a dog")}
    file = tmp_path / "0.tar"
    file.write_bytes(tar_of(samples))
    with platform.client() as client:
        dataset = client.datasets.create("with a deadly image").id
        client.datasets.upload(dataset, file)
        client.datasets.wait(dataset, timeout=PATIENCE)
        curation = begin(client, tmp_path, dataset)
        actual = outcome(client, curation)
        detail = str(client.curations.get(curation).detail)

    assert actual["state"] == "completed_with_errors"
    (failed,) = [task for task in platform.tasks(dataset) if task.state == TaskState.FAILED]
    assert failed.attempts == allowed + 2  # the workers that died, and the one that gave the task up
    assert failed.target in detail
    assert "workers vanished" in detail
    assert len(actual["archives"]) == 75 - 25  # of the other two shards
    assert worker.alive


@pytest.mark.slow
def test_a_worker_told_to_stop_hands_its_task_back(
    platform: Distributed, expected: dict[str, Any], tmp_path: Path
) -> None:
    slow: dict[str, Any] = {"faults": {"seconds": 0.3}, **SURE}
    worker = platform.start_worker(processes=2, **slow)
    with platform.client() as client:
        dataset = upload(client, tmp_path)
        curation = begin(client, tmp_path, dataset)
        for _ in range(2):
            platform.busy(dataset)
            assert worker.terminate(within=30.0) == 0
            assert platform.running(dataset) == {}
            worker = platform.start_worker(processes=2, **slow)
        assert outcome(client, curation) == expected
    # What was handed back does not count as tried.
    assert {task.attempts for task in platform.tasks(dataset)} == {1}


@pytest.mark.slow
def test_a_process_ended_while_a_task_begins_hands_it_back(platform: Distributed, tmp_path: Path) -> None:
    """Celery sometimes sends SIGTERM to a process that it believes to be idle."""
    worker = platform.start_worker(faults={"take_seconds": 0.5, "seconds": 0.1}, **SURE)
    with platform.client() as client:
        dataset = upload(client, tmp_path, uploads=1, samples=25)
        curation = begin(client, tmp_path, dataset)
        for _ in range(2):
            _, process = platform.busy(dataset)
            os.kill(process, signal.SIGTERM)
            with watched(PATIENCE / 2):
                while process in worker.children():
                    time.sleep(0.01)
            assert process not in platform.running(dataset).values()
        assert outcome(client, curation)["state"] == "completed"
    # Handed back, not lost: that would take until the end of the lease, and count.
    assert {task.attempts for task in platform.tasks(dataset)} == {1}


@pytest.mark.slow
def test_a_task_that_does_not_listen_is_taken_from_a_worker_told_to_stop(
    tmp_path: Path, redis: RedisServer, tiny_encoders: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Distributed(tmp_path, broker_url=f"{redis.url[:-1]}1", encoders_url=tiny_encoders) as platform,
    ):
        port = silent.getsockname()[1]
        platform.settings |= {"fetch_networks": ["127.0.0.0/8"], "fetch_ports": [port], **SURE}
        platform.start_api()
        worker = platform.start_worker(worker_grace_seconds=1.0)
        with platform.client() as client:
            dataset = client.datasets.create("set").id
            client.datasets.fetch(dataset, f"http://127.0.0.1:{port}/photos.tar")
            platform.busy(dataset)
            asking, _ = silent.accept()  # from now on it waits for an answer that never comes
            assert worker.terminate(within=30.0) == 0
            (task,) = platform.tasks(dataset)
            assert (task.state, task.attempts) == (TaskState.PENDING, 0)
            # No sweeper runs here: the task was told to others too.
            platform.start_worker()
            platform.busy(dataset)
            asking.close()


@pytest.mark.slow
def test_leases_do_not_depend_on_the_clocks_of_workers(
    platform: Distributed, expected: dict[str, Any], tmp_path: Path
) -> None:
    workers = [platform.start_worker(faults={"clock": wrong, "seconds": 0.2}) for wrong in (3600, -3600)]
    with platform.client() as client:
        dataset = upload(client, tmp_path)
        assert outcome(client, begin(client, tmp_path, dataset)) == expected
    assert {task.attempts for task in platform.tasks(dataset)} == {1}
    for worker in workers:
        assert "succeeded" in worker.said()


@pytest.mark.slow
def test_one_of_several_sweepers_is_killed(
    platform: Distributed, expected: dict[str, Any], tmp_path: Path
) -> None:
    others = [platform.start_sweeper() for _ in range(2)]
    platform.start_worker(processes=2)
    with platform.client() as client:
        curation = begin(client, tmp_path, upload(client, tmp_path))
        others[0].kill()
        assert outcome(client, curation) == expected
    assert others[1].terminate() == 0
