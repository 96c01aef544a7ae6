"""The broker: tasks that are sent run, once, whatever is lost or told twice; in memory and on Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.faults.distributed import Distributed
from tests.pipeline.pipeline_driver import (
    begin,
    new_dataset,
    settings,
    some_samples,
    state_of,
    wait_for,
    wait_for_ingest,
)
from tests.pipeline.tiny_encoder import write_tiny_encoder
from tests.servers.redis_server import redis_server

from cocu.catalog import models
from cocu.catalog.states import Stage
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.pipeline.queue import TaskQueue, connected_queue
from cocu.pipeline.sweeper import Sweeper
from cocu.pipeline.worker import create_application
from cocu.platform import Platform

Workers = Callable[[], AbstractContextManager[None]]
RESEND_SECONDS = 0.5


@pytest.fixture(params=["memory", "redis"])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
        return
    with redis_server() as server:
        yield server.url


@pytest.fixture
def platform(tmp_path: Path, broker_url: str) -> Iterator[Platform]:
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    changes = {"broker_url": broker_url, "lease_seconds": 30.0}
    new_settings = settings(
        tmp_path / "data", tmp_path / "encoders", resend_seconds=RESEND_SECONDS, **changes
    )
    with Platform.open(new_settings) as opened:
        yield opened


@pytest.fixture
def workers(platform: Platform, tmp_path: Path) -> Workers:
    """Runs workers and a sweeper while its block lasts, on the platform's broker."""

    @contextmanager
    def in_memory() -> Iterator[None]:
        with EmbeddedWorkers(platform):
            yield

    @contextmanager
    def on_redis() -> Iterator[None]:
        options = platform.settings.model_dump(exclude_unset=True) | platform.settings.model_dump(
            include={"catalog_url", "objects_url", "encoders_url", "vectors_url", "data_folder"}
        )
        with connected_queue(platform) as sender, Distributed(tmp_path / "processes", **options) as processes:
            sweeper = Sweeper(platform, sender)
            sweeper.start()
            worker = processes.start_worker()
            try:
                yield
            finally:
                assert worker.terminate() == 0
                sweeper.stop()

    return in_memory if platform.settings.embedded else on_redis


def attempts(platform: Platform) -> set[int]:
    """How often the tasks were begun; those of the vector store, which nobody waits for, left out."""
    table = models.Task.__table__
    beside = (Stage.INDEX, Stage.INDEX_CONCEPTS)
    with platform.catalog.read() as connection:
        return {row.attempts for row in connection.execute(table.select()) if row.stage not in beside}


def test_broker__tasks_that_are_sent_run_once(platform: Platform, workers: Workers) -> None:
    with workers():
        dataset = new_dataset(platform, some_samples(8), some_samples(8, first=8))
        wait_for_ingest(platform, dataset)
        assert wait_for(platform, begin(platform, dataset).id).state == "completed"
    assert attempts(platform) == {1}


def test_broker__messages_that_come_twice_run_once(platform: Platform, workers: Workers) -> None:
    with workers():
        once = platform._send
        platform.send_with(lambda task_refs: [once(list(task_refs) * 3), None][1])
        dataset = new_dataset(platform, some_samples(8), some_samples(8, first=8))
        wait_for_ingest(platform, dataset)
        assert wait_for(platform, begin(platform, dataset).id).state == "completed"
    assert attempts(platform) == {1}


@pytest.mark.slow
def test_broker__messages_that_are_lost_are_sent_again(platform: Platform, workers: Workers) -> None:
    with workers():
        platform.send_with(lambda task_refs: None)
        dataset = new_dataset(platform, some_samples(8))
        wait_for_ingest(platform, dataset)
        assert wait_for(platform, begin(platform, dataset).id).state == "completed"


@pytest.mark.slow
def test_broker__work_goes_on_with_the_next_workers(platform: Platform, workers: Workers) -> None:
    with workers():
        dataset = new_dataset(platform, some_samples(8))
        wait_for_ingest(platform, dataset)
        curation = begin(platform, dataset)
    record = state_of(platform, curation)
    with workers():
        assert wait_for(platform, record.id).state == "completed"


def test_broker__tells_which_queues_hold_messages(platform: Platform) -> None:
    application = create_application(platform.settings, lambda: platform, stopping=threading.Event())
    sender = TaskQueue(application)
    assert sender.queued() == frozenset()
    sender.publish([("some-task", "embed"), ("another", "embed"), ("a-third", "delete")])
    assert sender.queued() == {"embed", "delete"}
    sender.check()
    application.close()
