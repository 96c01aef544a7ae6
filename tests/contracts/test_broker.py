"""The broker: chunks that are sent run, once, whatever is lost or told twice; in memory and on Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.faults.distributed import Distributed
from tests.servers.redis_server import redis_server
from tests.workers.driving import (
    begin,
    new_dataset,
    settings,
    some_samples,
    state_of,
    wait_for,
    wait_for_ingest,
)
from tests.workers.tiny_encoder import write_tiny_encoder

from cocu.platform import Platform
from cocu.storage.catalog import models
from cocu.storage.catalog.states import Stage
from cocu.workers.application import create_application
from cocu.workers.embedded import EmbeddedWorkers
from cocu.workers.sending import Sender, sending
from cocu.workers.sweeper import Sweeper

Workers = Callable[[], AbstractContextManager[None]]
RESEND_SECONDS = 0.5


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
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
    made = settings(tmp_path / "data", tmp_path / "encoders", resend_seconds=RESEND_SECONDS, **changes)
    with Platform.open(made) as opened:
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
        made = platform.settings.model_dump(exclude_unset=True) | platform.settings.model_dump(
            include={"catalog_url", "objects_url", "encoders_url", "vectors_url", "data_folder"}
        )
        with sending(platform) as sender, Distributed(tmp_path / "processes", **made) as processes:
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
    """How often the chunks were begun; `index`, which has no vector store here, left out."""
    table = models.Chunk.__table__
    with platform.catalog.read() as connection:
        return {row.attempts for row in connection.execute(table.select()) if row.stage != Stage.INDEX}


def test_broker__chunks_that_are_sent_run_once(platform: Platform, workers: Workers) -> None:
    with workers():
        dataset = new_dataset(platform, some_samples(8), some_samples(8, first=8))
        wait_for_ingest(platform, dataset)
        assert wait_for(platform, begin(platform, dataset).id).state == "completed"
    assert attempts(platform) == {1}


def test_broker__messages_that_come_twice_run_once(platform: Platform, workers: Workers) -> None:
    with workers():
        once = platform._send
        platform.send_with(lambda planned: [once(list(planned) * 3), None][1])
        dataset = new_dataset(platform, some_samples(8), some_samples(8, first=8))
        wait_for_ingest(platform, dataset)
        assert wait_for(platform, begin(platform, dataset).id).state == "completed"
    assert attempts(platform) == {1}


def test_broker__messages_that_are_lost_are_sent_again(platform: Platform, workers: Workers) -> None:
    with workers():
        platform.send_with(lambda planned: None)
        dataset = new_dataset(platform, some_samples(8))
        wait_for_ingest(platform, dataset)
        assert wait_for(platform, begin(platform, dataset).id).state == "completed"


def test_broker__work_goes_on_with_the_next_workers(platform: Platform, workers: Workers) -> None:
    with workers():
        dataset = new_dataset(platform, some_samples(8))
        wait_for_ingest(platform, dataset)
        curation = begin(platform, dataset)
    asked = state_of(platform, curation)
    with workers():
        assert wait_for(platform, asked.id).state == "completed"


def test_broker__tells_which_queues_hold_messages(platform: Platform) -> None:
    application = create_application(platform.settings, lambda: platform, stopping=threading.Event())
    sender = Sender(application)
    assert sender.queued() == frozenset()
    sender.deliver([("some-chunk", "embed"), ("another", "embed"), ("a-third", "delete")])
    assert sender.queued() == {"embed", "delete"}
    sender.check()
    application.close()
