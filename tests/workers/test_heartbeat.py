"""What a check says of a worker: by its heartbeat, and by whether it takes the messages that are there."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from cocu.errors import UnavailableError
from cocu.workers.heartbeat import Heartbeat, Taking, trouble_in


def test_a_process_that_gets_on_has_no_trouble(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "deeper" / "worker.heartbeat")
    heartbeat.beat()
    assert trouble_in(tmp_path / "deeper" / "worker.heartbeat", patience=60.0) is None

    heartbeat.end()
    heartbeat.end()
    assert "no heartbeat" in str(trouble_in(tmp_path / "deeper" / "worker.heartbeat", patience=60.0))


def test_trouble_is_told_once_it_has_lasted(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "heartbeat")
    heartbeat.beat("the broker does not answer")
    assert trouble_in(tmp_path / "heartbeat", patience=60.0) is None
    time.sleep(0.05)
    heartbeat.beat("the broker does not answer")
    assert "the broker does not answer" in str(trouble_in(tmp_path / "heartbeat", patience=0.04))
    heartbeat.beat()
    assert trouble_in(tmp_path / "heartbeat", patience=60.0) is None


@pytest.mark.parametrize("ago", [100.0, -1e6])
def test_a_heart_that_stopped_or_beat_before_the_machine_started(tmp_path: Path, ago: float) -> None:
    at = time.monotonic() - ago
    (tmp_path / "heartbeat").write_text(json.dumps({"at": at, "well": at, "trouble": None}))
    assert trouble_in(tmp_path / "heartbeat", patience=60.0) is not None


def test_a_file_that_is_no_heartbeat(tmp_path: Path) -> None:
    (tmp_path / "heartbeat").write_text("")
    assert trouble_in(tmp_path / "heartbeat", patience=60.0) is not None


def test_messages_that_nobody_takes_are_trouble() -> None:
    taking = Taking(processes=2, queued=lambda: True)
    assert taking.trouble(taken=0, running=0, received=0) is None  # it may only just have come
    assert "takes none" in str(taking.trouble(taken=0, running=1, received=1))
    assert not taking.deaf()
    taking.trouble(taken=0, running=0, received=0)
    assert taking.deaf()
    assert not taking.deaf()  # it connects anew once, and is given time


def test_a_worker_that_is_busy_or_has_nothing_to_do_is_well() -> None:
    busy = Taking(processes=2, queued=lambda: True)
    idle = Taking(processes=2, queued=lambda: False)
    for _ in range(5):
        assert busy.trouble(taken=7, running=2, received=2) is None
        assert idle.trouble(taken=7, running=1, received=1) is None
    assert not busy.deaf()
    assert not idle.deaf()


def test_messages_taken_that_no_process_begins_with_are_trouble() -> None:
    taking = Taking(processes=2, queued=lambda: False)
    assert taking.trouble(taken=3, running=0, received=2) is None
    assert "2 messages" in str(taking.trouble(taken=3, running=0, received=2))


def test_a_broker_that_is_away_is_trouble() -> None:
    def away() -> bool:
        raise UnavailableError("the broker does not answer")

    taking = Taking(processes=1, queued=away)
    taking.trouble(taken=0, running=0, received=0)
    with pytest.raises(UnavailableError):
        taking.trouble(taken=0, running=0, received=0)
