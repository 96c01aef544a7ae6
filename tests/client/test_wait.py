"""Waiting goes on while the platform is away, and no longer than it should."""

from __future__ import annotations

import httpx
import pytest

from cocu.client import CocuClient, ConnectionFailedError, CurationFailedError, UnavailableError, wait

DATASET = {"id": "d", "name": "a", "created_at": "2026-01-01T00:00:00Z", "ingesting": 1}
CURATION = {
    **{"id": "c", "dataset": "d", "snapshot": "s", "samples": 1, "vocabulary": "v", "encoder": "e"},
    **{"encoder_hash": "h", "parameters": {}, "stages": [], "created_at": "2026-01-01T00:00:00Z"},
}


class Restarting(httpx.BaseTransport):
    """Answers by a script: a document, a status, or None for no connection; the last of it for ever."""

    def __init__(self, *script: dict[str, object] | int | None) -> None:
        self.script = list(script)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if answer is None:
            raise httpx.ConnectError("refused", request=request)
        if isinstance(answer, int):
            return httpx.Response(answer)
        return httpx.Response(200, json=answer)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only pauses move."""
    now = [0.0]
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def client(*script: dict[str, object] | int | None) -> CocuClient:
    return CocuClient("http://platform", transport=Restarting(*script), retries=0)


def test_dataset__a_restart_is_waited_for_and_told_once() -> None:
    read = {**DATASET, "ingesting": 0}
    told: list[str] = []
    with client(DATASET, None, 503, None, DATASET, None, read) as opened:
        assert opened.datasets.wait("d", outage=told.append).ingesting == 0
    assert len(told) == 2
    assert all("http://platform" in line or "503" in line or "unavailable" in line.lower() for line in told)


def test_curation__a_restart_is_waited_for() -> None:
    running, done = {**CURATION, "state": "running"}, {**CURATION, "state": "completed"}
    with client(running, *[None] * 20, running, done) as opened:
        assert opened.curations.wait("c").completed


def test_curation__one_that_was_cancelled_says_no_more_than_is_known() -> None:
    with client({**CURATION, "state": "cancelled"}) as opened, pytest.raises(CurationFailedError) as error:
        opened.curations.wait("c")
    assert str(error.value) == "curation c was cancelled"


@pytest.mark.parametrize(("away", "kind"), [(None, ConnectionFailedError), (503, UnavailableError)])
def test_an_outage__ends_after_its_bound(away: int | None, kind: type[Exception], clock: list[float]) -> None:
    with client(DATASET, away) as opened, pytest.raises(kind):
        opened.datasets.wait("d")
    assert wait.OUTAGE_SECONDS <= clock[0] < wait.OUTAGE_SECONDS + 10


def test_a_platform_that_never_answered__is_not_waited_for(clock: list[float]) -> None:
    with client(None) as opened, pytest.raises(ConnectionFailedError):
        opened.datasets.wait("d")
    assert clock[0] < 5


def test_timeout__ends_an_outage_as_well(clock: list[float]) -> None:
    with client(DATASET, None) as opened, pytest.raises(ConnectionFailedError):
        opened.datasets.wait("d", timeout=8)
    assert clock[0] < 20


def test_timeout__says_what_is_still_going_on() -> None:
    with client(DATASET) as opened, pytest.raises(TimeoutError, match="still reads 1 uploads after 3 s"):
        opened.datasets.wait("d", timeout=3)
