"""Calls of clients on threads: few at once, and those that nobody waits for count too."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from cocu.dashboard.client_calls import ClientCalls

AT_ONCE = 2


class Quiet:
    """A client without connections, whose calls wait until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = 0

    def close(self) -> None:
        """Close nothing."""

    def wait(self) -> str:
        """Wait until the calls are let go."""
        self.begun += 1
        assert self.go.wait(60)
        return "answer"


def test_calls_that_nobody_waits_for__keep_their_places_until_they_end() -> None:
    client = Quiet()
    calls = ClientCalls(lambda: client, at_once=AT_ONCE)

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await calls.run(Quiet.wait, within=0.2)

    async def ask_often() -> None:
        await asyncio.gather(*(ask() for _ in range(10)))
        await ask()
        assert client.begun == AT_ONCE
        client.go.set()
        assert await asyncio.gather(*(calls.run(Quiet.wait) for _ in range(5))) == ["answer"] * 5

    asyncio.run(ask_often())


def test_a_caller_that_is_cancelled__gives_its_place_back_when_its_call_ends() -> None:
    client = Quiet()
    calls = ClientCalls(lambda: client, at_once=1)

    async def cancel() -> None:
        asking = asyncio.create_task(calls.run(Quiet.wait))
        end = time.monotonic() + 60
        while not client.begun:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        client.go.set()
        assert await calls.run(Quiet.wait, within=60) == "answer"

    asyncio.run(cancel())


def test_an_error_that_nobody_waits_for__is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    client = Quiet()

    def fail(client: Quiet) -> None:
        client.wait()
        raise LookupError("too late")

    calls = ClientCalls(lambda: client, at_once=1)

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await calls.run(fail, within=0.1)
        client.go.set()
        assert await calls.run(Quiet.wait) == "answer"

    asyncio.run(ask())
    gc.collect()
    assert caplog.records == []


def test_errors__are_those_of_the_call() -> None:
    def fail(client: Quiet) -> str:
        raise LookupError("nothing here")

    calls = ClientCalls(Quiet, at_once=1)

    async def ask() -> None:
        for _ in range(3):
            with pytest.raises(LookupError, match="nothing here"):
                await calls.run(fail)

    asyncio.run(ask())
