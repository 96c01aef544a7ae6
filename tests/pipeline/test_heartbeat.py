"""What a check says of a worker: by its heartbeat, and by whether it takes the messages that are there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cocu.errors import UnavailableError
from cocu.pipeline.heartbeat import ConsumerWatch, Heartbeat, error_in


def test_a_process_that_makes_progress_has_no_error(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "deeper" / "worker.heartbeat")
    heartbeat.beat()
    assert error_in(tmp_path / "deeper" / "worker.heartbeat", timeout=60.0) is None

    heartbeat.end()
    heartbeat.end()
    assert "no heartbeat" in str(error_in(tmp_path / "deeper" / "worker.heartbeat", timeout=60.0))


def test_an_error_is_reported_after_some_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("cocu.pipeline.heartbeat.time", SimpleNamespace(monotonic=lambda: now))
    heartbeat = Heartbeat(tmp_path / "heartbeat")
    heartbeat.beat("the broker does not answer")
    assert error_in(tmp_path / "heartbeat", timeout=60.0) is None
    now += 61.0
    heartbeat.beat("the broker does not answer")
    assert "the broker does not answer" in str(error_in(tmp_path / "heartbeat", timeout=60.0))
    heartbeat.beat()
    assert error_in(tmp_path / "heartbeat", timeout=60.0) is None


@pytest.mark.parametrize("ago", [100.0, -1e6])
def test_a_heartbeat_that_is_old_or_from_before_the_machine_started_is_an_error(
    tmp_path: Path, ago: float
) -> None:
    at = time.monotonic() - ago
    (tmp_path / "heartbeat").write_text(json.dumps({"at": at, "last_ok": at, "error": None}))
    assert error_in(tmp_path / "heartbeat", timeout=60.0) is not None


def test_a_file_that_is_not_a_heartbeat_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "heartbeat").write_text("")
    assert error_in(tmp_path / "heartbeat", timeout=60.0) is not None


def test_messages_that_nobody_takes_are_an_error() -> None:
    watch = ConsumerWatch(processes=2, queued=lambda: True)
    assert watch.error(taken=0, running=0, received=0) is None  # it may only just have come
    assert "takes none" in str(watch.error(taken=0, running=1, received=1))
    assert not watch.stalled()
    watch.error(taken=0, running=0, received=0)
    assert watch.stalled()
    assert not watch.stalled()  # it connects anew once, and is given time


def test_a_worker_that_is_busy_or_has_nothing_to_do_has_no_error() -> None:
    busy = ConsumerWatch(processes=2, queued=lambda: True)
    idle = ConsumerWatch(processes=2, queued=lambda: False)
    for _ in range(5):
        assert busy.error(taken=7, running=2, received=2) is None
        assert idle.error(taken=7, running=1, received=1) is None
    assert not busy.stalled()
    assert not idle.stalled()


def test_messages_that_are_taken_but_not_started_are_an_error() -> None:
    watch = ConsumerWatch(processes=2, queued=lambda: False)
    assert watch.error(taken=3, running=0, received=2) is None
    assert "2 messages" in str(watch.error(taken=3, running=0, received=2))


def test_a_broker_that_does_not_answer_is_an_error() -> None:
    def away() -> bool:
        raise UnavailableError("the broker does not answer")

    watch = ConsumerWatch(processes=1, queued=away)
    watch.error(taken=0, running=0, received=0)
    with pytest.raises(UnavailableError):
        watch.error(taken=0, running=0, received=0)
