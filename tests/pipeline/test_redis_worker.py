"""`cocu worker` on Redis: its check, its limits, and what it opens where."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.distributed import PATIENCE, REPOSITORY, Distributed, Part
from tests.pipeline.pipeline_driver import TENANT, new_dataset, some_samples, wait_for_ingest
from tests.servers.redis_server import RedisServer, redis_server

from cocu.catalog import uploads
from cocu.pipeline.queue import connected_queue
from cocu.pipeline.sweeper import Sweeper
from cocu.platform import Platform
from cocu.settings import Settings


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def processes(tmp_path: Path, redis: RedisServer, encoders: Path) -> Iterator[Distributed]:
    redis.flush()
    with Distributed(tmp_path / "many", broker_url=redis.url, encoders_url=encoders) as started:
        yield started


@pytest.fixture
def opened(processes: Distributed) -> Iterator[Platform]:
    """The platform as an API and a sweeper have it."""
    with Platform.open(Settings(**processes.settings)) as platform, connected_queue(platform) as sender:
        sweeper = Sweeper(platform, sender)
        sweeper.start()
        yield platform
        sweeper.stop()


def check(processes: Distributed, worker: Part) -> tuple[int, str]:
    """The exit code and the words of `cocu worker --check` beside a worker."""
    environment = processes.environment(heartbeat_file=worker.log.with_suffix(".heartbeat"), stuck_seconds=5)
    command = [sys.executable, "-m", "cocu", "worker", "--check"]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_check_tells_a_worker_that_gets_on_from_one_that_does_not(
    processes: Distributed, redis: RedisServer
) -> None:
    worker = processes.start_worker()
    assert check(processes, worker)[0] == 0

    worker.process.send_signal(signal.SIGSTOP)
    until(lambda: check(processes, worker)[0] == 1)
    assert "its last heartbeat is" in check(processes, worker)[1]
    worker.process.send_signal(signal.SIGCONT)
    until(lambda: check(processes, worker)[0] == 0)

    redis.kill()
    until(lambda: check(processes, worker)[0] == 1)
    redis.start()
    until(lambda: check(processes, worker)[0] == 0)

    assert worker.terminate() == 0
    code, words = check(processes, worker)
    assert code == 1
    assert "no heartbeat" in words


def test_only_the_children_open_the_platform(processes: Distributed, opened: Platform) -> None:
    worker = processes.start_worker(processes=2)
    wait_for_ingest(opened, new_dataset(opened, some_samples(4), some_samples(4, first=4)))

    def opens_catalog(process: int) -> bool:
        files = Path(f"/proc/{process}/fd").iterdir()
        return any("catalog.sqlite" in str(file.readlink()) for file in files)

    assert not opens_catalog(worker.process.pid)
    assert any(opens_catalog(child) for child in worker.children())


def test_a_task_that_runs_too_long_fails_and_says_why(processes: Distributed, opened: Platform) -> None:
    worker = processes.start_worker(faults={"seconds": 30}, task_seconds=0.5, max_failures=1)
    dataset = new_dataset(opened, some_samples(4))
    wait_for_ingest(opened, dataset)

    (upload,) = uploads.list_page(opened.catalog, tenant=TENANT, dataset_id=dataset, limit=9).items
    assert upload.state == "failed"
    assert "longer than" in str(upload.error)
    assert worker.alive


@pytest.mark.slow
def test_a_process_that_has_held_too_much_is_replaced(processes: Distributed, opened: Platform) -> None:
    worker = processes.start_worker(worker_memory_bytes=1024)
    (before,) = worker.children()
    wait_for_ingest(opened, new_dataset(opened, some_samples(4)))
    until(lambda: worker.children() not in ([before], []))
    wait_for_ingest(opened, new_dataset(opened, some_samples(4), name="another"))
    assert worker.alive


def test_a_worker_takes_only_the_queues_it_is_for(processes: Distributed, opened: Platform) -> None:
    others = processes.start_worker(queues="embed,index")
    dataset = new_dataset(opened, some_samples(4))
    processes.start_worker(queues="ingest")
    wait_for_ingest(opened, dataset)
    assert "cocu.ingest" not in others.said()


def test_without_redis_there_is_no_worker_to_start(processes: Distributed) -> None:
    for command in ("worker", "sweeper"):
        refused = processes.start(command, broker_url="memory://")
        assert refused.process.wait(PATIENCE) == 1
        assert "memory://" in refused.said()
    unknown = processes.start("worker", "--queues", "embed,wash")
    assert unknown.process.wait(PATIENCE) == 2
    assert "wash" in unknown.said()
