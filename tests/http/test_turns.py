"""Requests take turns: few run at once, health checks need no turn, and too many are refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.http.test_listener import GET, Server

from cocu.http import turns as turns_module
from cocu.http.turns import Turns


class Application:
    """Answers when it is allowed to, and counts the requests that have begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        if scope["method"] == "PUT":
            await receive()
        if not scope["path"].endswith("/healthz"):
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/v1/stream":
            await asyncio.sleep(3600)


async def send_nothing(message: Any) -> None:
    """Take an answer."""


async def receive_never() -> Any:
    """Wait for a client that sends nothing more."""
    await asyncio.sleep(3600)


def begin(turns: Turns, path: str = "/v1/x", *, method: str = "GET") -> asyncio.Task[None]:
    """Start a request."""
    scope = {"type": "http", "path": path, "method": method}
    return asyncio.create_task(turns(scope, receive_never, send_nothing))


async def settle() -> None:
    """Let the loop do what can be done now."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_turns__are_as_many_as_there_may_be_and_pass_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "MAX_TURN_SECONDS", 3600.0)

    async def exchange() -> None:
        app = Application()
        turns = Turns(app, max_concurrent=2, max_waiting=3)
        requests = [begin(turns) for _ in range(5)]
        await settle()
        assert app.begun == 2
        assert turns.refuses("/v1/x")
        assert not turns.refuses("/healthz")
        await begin(turns, "/healthz")
        requests[2].cancel()
        app.go.set()
        await asyncio.gather(*requests, return_exceptions=True)
        assert app.begun == 5  # two, health, and two of the three that waited: one was cancelled
        assert not turns.refuses("/v1/x")
        # No turn was lost with the cancelled request.
        app.go.clear()
        others = [begin(turns) for _ in range(3)]
        await settle()
        assert app.begun == 7
        app.go.set()
        await asyncio.gather(*others)

    asyncio.run(exchange())


@pytest.mark.parametrize(
    ("path", "method"),
    [
        pytest.param("/v1/x", "PUT", id="the client is waited for"),
        pytest.param("/v1/stream", "GET", id="the answer has begun"),
        pytest.param("/", "GET", id="it takes long"),
    ],
)
def test_turns__are_left_to_others_while_nothing_is_done(
    path: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "MAX_TURN_SECONDS", 0.05)

    async def exchange() -> None:
        app = Application()
        turns = Turns(app, max_concurrent=1, max_waiting=3)
        if path == "/v1/stream":
            app.go.set()
        held = [begin(turns, path, method=method) for _ in range(3)]
        async with asyncio.timeout(10):
            while app.begun < 3:
                await asyncio.sleep(0.01)
        for request in held:
            request.cancel()

    asyncio.run(exchange())


def test_turns__that_are_all_waited_for_refuse_in_words_and_tell_health() -> None:
    async def exchange() -> None:
        turns = Turns(Application(), max_concurrent=0, max_waiting=1, root_path="/cocu")
        async with Server(40) as server:
            server.serve(turns)
            await server.connect(GET.replace(b"/ ", b"/v1/x ", 1))
            async with asyncio.timeout(10):
                while not turns.refuses("/v1/x"):
                    await asyncio.sleep(0.01)
                for sent in (
                    GET,
                    b"PUT /v1/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
                ):
                    refused = await (await server.connect(sent))[0].read()
                    assert refused.startswith(b"HTTP/1.1 503")
                    assert b"Retry-After" in refused
                for path in (b"/healthz", b"/cocu/healthz?why"):
                    reader, _ = await server.connect(GET.replace(b"/ ", path + b" ", 1))
                    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")

    asyncio.run(exchange())
