"""Work that takes longer than a request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cocu.api.background import MAX_PENDING, Background
from cocu.errors import IntegrityError, UnavailableError


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def background(stopping: threading.Event) -> Background:
    return Background(stopping)


def require(background: Background, key: str, work: Callable[..., None], seconds: float = 30.0) -> None:
    background.require(key, work, title="the things", total=10, seconds=seconds)


def test_require__waits_for_what_is_soon_made(background: Background) -> None:
    made: list[str] = []
    require(background, "a", lambda advance: made.append("a"))
    assert made == ["a"]


def test_require__a_thing_is_made_once_whoever_asks_meanwhile(background: Background) -> None:
    begun, going_on, times = threading.Event(), threading.Event(), []

    def work(advance: Callable[[int], None]) -> None:
        times.append(1)
        advance(3)
        begun.set()
        going_on.wait(30)

    with pytest.raises(UnavailableError, match="the things are being computed"):
        require(background, "a", work, seconds=0.0)
    assert begun.wait(30)
    with pytest.raises(UnavailableError, match="3 of 10 so far"):
        require(background, "a", work, seconds=0.01)
    require(background, "b", lambda advance: None)  # others are made beside it
    going_on.set()
    require(background, "a", work)
    assert len(times) == 1


def test_require__what_failed_is_raised_once_and_then_tried_again(background: Background) -> None:
    outcomes = iter([IntegrityError("broken"), None])

    def work(advance: Callable[[int], None]) -> None:
        if (error := next(outcomes)) is not None:
            raise error

    with pytest.raises(IntegrityError, match="broken"):
        require(background, "a", work)
    require(background, "a", work)


def test_start__waits_for_nothing_and_logs_what_fails(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    def work(advance: Callable[[int], None]) -> None:
        raise UnavailableError("the store is away")

    with caplog.at_level(logging.WARNING):
        background.start("a", work)
        end = time.monotonic() + 30
        while "the store is away" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_require__is_left_when_the_platform_stops(background: Background, stopping: threading.Event) -> None:
    def work(advance: Callable[[int], None]) -> None:
        stopping.set()
        advance(1)

    with pytest.raises(UnavailableError, match="stopped"):
        require(background, "a", work)


def test_require__more_than_can_be_made_is_refused(background: Background) -> None:
    going_on = threading.Event()
    for number in range(MAX_PENDING):
        background.start(number, lambda advance: going_on.wait(30) and None)
    with pytest.raises(UnavailableError, match="already"):
        require(background, "one more", lambda advance: None)
    going_on.set()
