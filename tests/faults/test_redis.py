"""Redis emptied, restarted, silent or full in mid-run: the run ends the same, and no request hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faults.distributed import Distributed, begin, outcome, upload, watched
from tests.faults.fault_counts import DISTURBANCES
from tests.servers.redis_server import RedisServer

REQUEST_SECONDS = 20.0
"""Longer than any request may take on a busy machine; a request that takes longer hangs."""

pytestmark = pytest.mark.timeout(300 + 30 * DISTURBANCES)


@pytest.fixture
def disturbed(platform: Distributed, redis: RedisServer) -> Iterator[Distributed]:
    """The platform with a worker; Redis is restored at the end."""
    platform.start_worker(processes=2, faults={"seconds": 0.2})
    try:
        yield platform
    finally:
        redis.start()
        redis.limit_memory(0)


def empty(redis: RedisServer) -> None:
    redis.flush()


def restart(redis: RedisServer) -> None:
    redis.restart()


def lose(redis: RedisServer) -> None:
    redis.kill()
    time.sleep(1.0)
    redis.start()


def fill(redis: RedisServer) -> None:
    redis.fill()
    time.sleep(1.0)
    redis.limit_memory(0)


def silence(redis: RedisServer) -> None:
    redis.freeze()
    time.sleep(2.0)
    redis.thaw()


@pytest.mark.parametrize(
    "disturb", [restart, *(pytest.param(how, marks=pytest.mark.slow) for how in (empty, lose, fill, silence))]
)
def test_a_run_ends_the_same_whatever_happens_to_redis(
    disturbed: Distributed,
    redis: RedisServer,
    expected: dict[str, Any],
    tmp_path: Path,
    disturb: Callable[[RedisServer], None],
) -> None:
    with disturbed.client() as client:
        dataset = upload(client, tmp_path)
        curation = begin(client, tmp_path, dataset)
        for _ in range(DISTURBANCES):
            disturbed.busy(dataset)
            disturb(redis)
        assert outcome(client, curation) == expected
    # Nobody had to start it anew.
    assert disturbed.parts[-1].alive


@pytest.mark.slow
@pytest.mark.parametrize("state", ["dead", "silent", "full"])
def test_requests_are_answered_while_redis_is_away(
    disturbed: Distributed, redis: RedisServer, expected: dict[str, Any], tmp_path: Path, state: str
) -> None:
    """The request is in the catalog; its work starts when Redis is back."""
    away, back = {
        "dead": (redis.kill, redis.start),
        "silent": (redis.freeze, redis.thaw),
        "full": (redis.fill, lambda: redis.limit_memory(0)),
    }[state]
    with disturbed.client(retries=0) as client:
        dataset = upload(client, tmp_path)
        away()
        try:
            for _ in range(2):
                with watched(REQUEST_SECONDS):
                    curation = begin(client, tmp_path, dataset)
            with watched(REQUEST_SECONDS):
                ready = httpx.get(f"{disturbed.url}/readyz", timeout=REQUEST_SECONDS)
            assert ready.status_code == 200
            if state != "full":
                assert ready.json()["parts"]["broker"] == "unavailable"
            assert client.curations.get(curation).state == "queued"
        finally:
            back()
        assert outcome(client, curation) == expected
