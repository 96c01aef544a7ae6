"""A limit of connections: idle ones make room for new ones, and the loop never spins."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from cocu.http.descriptors import connections_within
from cocu.http.listener import Connections, RepeatFilter
from cocu.http.protocol import TimeoutProtocol, protocol_class
from cocu.http.turns import Turns

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HUGE = 64 << 20


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer with a word, with 64 MiB, never, or only when the body has arrived."""
    headers = [(b"content-length", b"2")]
    if scope["path"] == "/long":
        await asyncio.sleep(3600)
    if scope["path"] == "/huge":
        headers = [(b"content-length", str(HUGE).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(HUGE >> 20):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    while scope["method"] == "PUT" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


class Server:
    """A server for `limit` connections."""

    def __init__(self, limit: int, *, idle_seconds: float = 60.0) -> None:
        self.connections = Connections(limit)
        self.kind = protocol_class(head_seconds=60.0, idle_seconds=idle_seconds, connections=self.connections)
        self.protocols: list[TimeoutProtocol] = []
        self._clients: list[asyncio.StreamWriter] = []

        self._app: Any = application

    def serve(self, turns: Turns) -> None:
        """Answer from now on with an application behind turns."""
        self._app, self.kind.turns = turns, turns

    async def __aenter__(self) -> Server:
        config = uvicorn.Config(
            self._answer, interface="asgi3", log_config=None, access_log=False, lifespan="off"
        )
        config.load()
        state = ServerState()

        def protocol() -> TimeoutProtocol:
            self.protocols.append(self.kind(config=config, server_state=state, app_state={}))
            return self.protocols[-1]

        self.listening = self.connections.listening(socket.create_server(("127.0.0.1", 0)))
        self.address = self.listening.getsockname()
        self._server = await asyncio.get_running_loop().create_server(
            protocol, sock=self.listening, backlog=2048
        )
        return self

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()
        for protocol in self.protocols:
            protocol.transport.abort()
        for writer in self._clients:
            writer.transport.abort()
        self.listening.close()
        await asyncio.sleep(0.05)

    async def connect(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        self._clients.append(writer)
        writer.write(sent)
        return reader, writer

    async def answer(self) -> bytes:
        async with asyncio.timeout(10):
            reader, writer = await self.connect(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return head


@pytest.mark.parametrize(
    "waiting",
    [
        pytest.param(b"", id="silence"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: local", id="half a head"),
        pytest.param(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx", id="half a body"),
        pytest.param(GET, id="an answer taken"),
        pytest.param(GET.replace(b"/ ", b"/huge "), id="an answer left lying"),
    ],
)
def test_connections__that_wait_for_their_client_make_room(waiting: bytes) -> None:
    async def exchange() -> None:
        async with Server(8) as server:
            for _ in range(40):
                await server.connect(waiting)
            await asyncio.sleep(0.2)
            assert (await server.answer()).startswith(b"HTTP/1.1 200")
            assert (
                len([protocol for protocol in server.protocols if not protocol.transport.is_closing()]) <= 8
            )

    asyncio.run(exchange())


def test_connections__idle_longest_go_first() -> None:
    async def exchange() -> None:
        async with Server(3) as server:
            (first, _), (second, writer), (third, _) = [await server.connect(GET) for _ in range(3)]
            for reader in (first, second, third):
                await reader.readuntil(b"ok")
            writer.write(GET)
            await second.readuntil(b"ok")
            await server.answer()
            await asyncio.sleep(0.1)
            assert (first.at_eof(), second.at_eof()) == (True, False)

    asyncio.run(exchange())


def test_connections__that_are_being_answered_stay_and_others_are_told() -> None:
    async def exchange() -> None:
        async with Server(3) as server:
            held = [await server.connect(GET.replace(b"/ ", b"/long ")) for _ in range(3)]
            async with asyncio.timeout(10):
                while len(server.protocols) < 3 or any(
                    protocol.cycle is None for protocol in server.protocols
                ):
                    await asyncio.sleep(0.01)
                reader, _ = await server.connect()
                refused = await reader.read()
            assert refused.startswith(b"HTTP/1.1 503")
            assert b"Retry-After" in refused
            assert not any(protocol.transport.is_closing() for protocol in server.protocols)
            held[0][1].transport.abort()
            await asyncio.sleep(0.1)
            assert (await server.answer()).startswith(b"HTTP/1.1 200")

    asyncio.run(exchange())


def test_connections__of_which_all_are_in_use_have_a_quarter_more_to_be_read() -> None:
    async def exchange() -> None:
        async with Server(8) as server:
            for _ in range(9):
                await server.connect(GET.replace(b"/ ", b"/long "))
            async with asyncio.timeout(10):
                while len(server.protocols) < 9 or any(
                    protocol.cycle is None for protocol in server.protocols
                ):
                    await asyncio.sleep(0.01)
                assert (await server.answer()).startswith(b"HTTP/1.1 200")
                await server.connect(GET.replace(b"/ ", b"/long "))
                assert (await server.answer()).startswith(b"HTTP/1.1 503")

    asyncio.run(exchange())


def test_accepting__without_descriptors_neither_spins_nor_fills_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`accept` is replaced: a test cannot make the system fail for one call alone."""
    tries = 0
    accept = socket.socket.accept

    def failing(self: socket.socket) -> Any:
        nonlocal tries
        tries += 1
        raise OSError(errno.EMFILE, "Too many open files")

    async def exchange() -> None:
        async with Server(100) as server:
            reader, _ = await server.connect(GET)
            await reader.readuntil(b"ok")
            monkeypatch.setattr(socket.socket, "accept", failing)
            queued = [await server.connect(GET) for _ in range(20)]
            await asyncio.sleep(0.5)
            # The idle connection protocol room; then the loop waits a second before it asks again.
            assert reader.at_eof()
            assert tries < 10
            monkeypatch.setattr(socket.socket, "accept", accept)
            async with asyncio.timeout(10):
                for waiting, _ in queued:
                    assert (await waiting.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    logging.getLogger("asyncio").addFilter(repeat_filter := RepeatFilter())
    try:
        asyncio.run(exchange())
        assert sum("cannot be accepted" in record.message for record in caplog.records) <= 1
        assert sum("socket.accept()" in record.message for record in caplog.records) <= 1
    finally:
        logging.getLogger("asyncio").removeFilter(repeat_filter)


def test_answers__that_nobody_takes_are_given_up_and_slow_ones_are_not() -> None:
    async def exchange() -> None:
        async with Server(10, idle_seconds=0.4) as server:
            huge = GET.replace(b"/ ", b"/huge ")
            (stalled, _), (slow, _) = await server.connect(huge), await server.connect(huge)
            stalled._transport.pause_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(20):
                for _ in range(12):
                    await slow.read(1 << 20)
                    await asyncio.sleep(0.1)
                while not server.protocols[0].transport.is_closing():
                    await asyncio.sleep(0.05)
            assert not server.protocols[1].transport.is_closing()
            assert server.protocols[0].cycle.disconnected

    asyncio.run(exchange())


def test_stopping__does_not_wait_for_an_answer_that_nobody_takes() -> None:
    async def exchange() -> None:
        async with Server(10) as server:
            reader, _ = await server.connect(GET.replace(b"/ ", b"/huge "))
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(4):
                while not (
                    server.protocols and server.protocols[0].waits_for_client and server.protocols[0].cycle
                ):
                    await asyncio.sleep(0.05)
                server.protocols[0].shutdown()
                while not server.protocols[0].transport.is_closing():
                    await asyncio.sleep(0.05)

    asyncio.run(exchange())


@pytest.mark.parametrize("limit", [16, 64, 256, 1024, 4096, 1 << 20])
def test_room__is_left_for_files(limit: int) -> None:
    room = connections_within(limit, requested=4096)
    assert 8 <= room <= 4096
    assert limit < 64 or 2 * room + 32 <= limit
