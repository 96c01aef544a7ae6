"""What Prometheus reads of workers and sweepers."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.distributed import PATIENCE, Distributed, Part
from tests.metric_values import scraped, scraped_until
from tests.pipeline.pipeline_driver import (
    TENANT,
    begin,
    drain,
    ingested,
    new_dataset,
    noise_png,
    some_samples,
    wait_for,
    wait_for_ingest,
)
from tests.servers.redis_server import RedisServer, redis_server

from cocu.catalog import samples
from cocu.pipeline.lease import Lease
from cocu.pipeline.metrics import metrics
from cocu.pipeline.queue import connected_queue
from cocu.pipeline.stages import ingest
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage import paths

ATTEMPTS = "cocu_task_attempts_total"
PROCESSED = "cocu_samples_processed_total"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def processes(
    tmp_path: Path, redis: RedisServer, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Distributed]:
    redis.flush()
    # Workers are killed at the end, and leave their figures behind.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Distributed(tmp_path / "many", broker_url=redis.url, encoders_url=encoders) as started:
        yield started


@pytest.fixture
def opened(processes: Distributed) -> Iterator[Platform]:
    """The platform as an API has it."""
    with Platform.open(Settings(**processes.settings)) as platform, connected_queue(platform):
        yield platform


def figures_at(part: Part) -> str:
    """Where a worker or sweeper serves its figures."""
    port = part.wait_for("metrics for Prometheus on").rsplit(" ", 1)[1]
    return f"http://127.0.0.1:{port}/metrics"


def started_worker(processes: Distributed, **changes: object) -> tuple[Part, str]:
    part = processes.start("worker", "--processes", "2", "--metrics-port", "0", **changes)
    part.wait_for(" ready.")
    return part, figures_at(part)


@pytest.mark.slow
def test_worker__serves_the_sums_of_its_processes(processes: Distributed, opened: Platform) -> None:
    worker, url = started_worker(processes, test_faults={"seconds": 0.2})
    sweeper = processes.start("sweeper", "--metrics-port", "0")
    before = scraped(url)
    assert before(ATTEMPTS) == before(PROCESSED) == 0
    assert "embed" in before.values("stage"), "what has not happened yet is there, at zero"

    dataset = new_dataset(opened, some_samples(40), some_samples(20, first=40))
    wait_for_ingest(opened, dataset)
    assert wait_for(opened, begin(opened, dataset).id).state == "completed"

    def complete(metrics: object) -> bool:
        return metrics(ATTEMPTS, stage="publish", outcome="done") == 1  # type: ignore[operator]

    metrics = scraped_until(url, complete)
    # Shards hold at most 25 samples: two of the first upload, one of the second.
    for stage, tasks in (("ingest", 2), ("embed", 3), ("neighbours", 3), ("curate", 3), ("publish", 1)):
        assert metrics(ATTEMPTS, stage=stage, outcome="done") == tasks, stage
        assert metrics(PROCESSED, stage=stage) == 60, stage
        assert metrics("cocu_task_duration_seconds_count", stage=stage) == tasks, stage
    assert metrics("cocu_task_duration_seconds_bucket", stage="embed", le="+Inf") == 3
    assert metrics("cocu_task_duration_seconds_sum", stage="embed") >= 3 * 0.2
    assert scraped_until(figures_at(sweeper), lambda read: read("cocu_sweeps_total") >= 1)(
        "cocu_sweeps_total", outcome="done"
    )
    processes.start_api()
    catalog = scraped(f"{processes.url}/metrics")
    for stage, tasks in (("ingest", 2), ("embed", 3), ("curate", 3), ("publish", 1)):
        assert catalog("cocu_tasks", stage=stage, state="done") == tasks, stage
    assert catalog("cocu_samples") == catalog("cocu_task_samples", stage="curate", state="done") == 60
    assert catalog("cocu_curations", state="completed") == 1
    assert "cocu_task_attempts" not in catalog.families, "whoever serves it twice has it counted twice"
    assert worker.terminate() == 0
    assert sweeper.terminate() == 0


@pytest.mark.slow
def test_worker__counts_on_where_a_process_was_killed(processes: Distributed, opened: Platform) -> None:
    worker, url = started_worker(processes)
    wait_for_ingest(opened, new_dataset(opened, some_samples(4), some_samples(4, first=4)))
    before = scraped_until(url, lambda read: read(ATTEMPTS, stage="ingest") == 2)
    assert before(PROCESSED, stage="ingest") == 8

    first = worker.children()
    for child in first:
        os.kill(child, signal.SIGKILL)
    assert scraped(url)(PROCESSED, stage="ingest") == 8
    wait_for_ingest(opened, new_dataset(opened, some_samples(6), some_samples(6, first=6), name="another"))
    after = scraped_until(url, lambda read: read(ATTEMPTS, stage="ingest") == 4)
    assert after(ATTEMPTS, stage="ingest", outcome="done") == 4
    assert after(PROCESSED, stage="ingest") == 20
    assert not set(first) & set(worker.children())


def sockets_of(process: int) -> set[str]:
    files = (file for file in Path(f"/proc/{process}/fd").iterdir() if file.is_symlink())
    return {str(file.readlink()).removeprefix("socket:[").rstrip("]") for file in files}


def sockets_listening_at(port: int) -> set[str]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


@pytest.mark.slow
def test_worker__leaves_nothing_behind_and_says_where_a_port_is_taken(processes: Distributed) -> None:
    folder = processes.folder.parent
    worker, url = started_worker(processes)
    port = url.split(":")[2].split("/")[0]
    listening = sockets_listening_at(int(port))
    assert listening & sockets_of(worker.process.pid)
    # A process closes it as soon as it has begun; it would keep the port after its parent.
    end = time.monotonic() + PATIENCE
    while any(listening & sockets_of(child) for child in worker.children()):
        assert time.monotonic() < end, "a process keeps the port open"
        time.sleep(0.05)
    refused = processes.start("sweeper", "--metrics-port", port)
    assert refused.process.wait(PATIENCE) == 1
    assert f"port {port}" in refused.said()
    assert "--metrics-port" in refused.said()
    assert any(folder.glob("cocu-metrics-*/*.db"))
    assert worker.terminate() == 0
    assert not list(folder.glob("cocu-metrics-*"))


@pytest.mark.slow
def test_without_the_option_there_is_no_port(processes: Distributed) -> None:
    worker = processes.start_worker()
    assert "Prometheus" not in worker.said()


def counted(stage: str, outcome: str) -> float:
    value = metrics().registry.get_sample_value(ATTEMPTS, {"stage": stage, "outcome": outcome})
    assert value is not None
    return value


def rejected(outcome: str) -> float:
    value = metrics().registry.get_sample_value("cocu_samples_rejected_total", {"outcome": outcome})
    assert value is not None
    return value


def test_samples_that_are_not_accepted_are_counted(platform: Platform) -> None:
    before = rejected("skipped"), rejected("failed")
    broken = {
        "x": (b"no picture", "a dog"),
        "y": (noise_png(900)[:-40], "a cat"),
        "z": (noise_png(901), "a dog"),
    }
    new_dataset(platform, broken)
    drain(platform)
    assert (rejected("skipped"), rejected("failed")) == (before[0] + 2, before[1])


def test_a_known_error_is_one_line_in_the_log_and_counted(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = ingested(platform)
    lost = samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset)[0].id
    platform.objects.delete(paths.shard(dataset, lost))
    before = counted("embed", "failed")
    begin(platform, dataset)
    with caplog.at_level(logging.ERROR, logger="cocu.pipeline.lease"):
        drain(platform)
    assert counted("embed", "failed") - before == platform.settings.max_failures == len(caplog.records)
    for record in caplog.records:
        assert record.exc_info is None
        assert "\n" not in record.getMessage()
        assert f"embed of {lost} failed: NotFoundError: " in record.getMessage()


def test_an_error_that_nobody_foresaw_keeps_its_trace(
    platform: Platform, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(lease: Lease) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(ingest, "run", broken)
    new_dataset(platform, some_samples(2))
    with caplog.at_level(logging.ERROR, logger="cocu.pipeline.lease"):
        drain(platform)
    assert "in broken" in caplog.text
    assert "ZeroDivisionError: nobody foresaw this" in caplog.text
