"""Bodies from the socket to the application: every byte, in order, and not too many at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from cocu.http.protocol import TimeoutProtocol, protocol_class

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Application:
    """Keeps the bodies it gets, reads past the first piece once it may, and answers with their lengths."""

    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: list[bytes] = field(default_factory=list)
    answers_first: bool = False

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        if self.answers_first:
            await self._answer(send, b"enough")
            return
        body = bytearray()
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    body += b" and then it broke off"
                    return
                body += message["body"]
                await self.may_read.wait()
                if not message["more_body"]:
                    break
        finally:
            self.bodies.append(bytes(body))
        await self._answer(send, str(len(body)).encode())

    async def _answer(self, send: Any, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connected(
    application: Application, *, idle_seconds: float = 20.0
) -> AsyncIterator[tuple[Streams, TimeoutProtocol]]:
    config = uvicorn.Config(application, log_config=None, access_log=False, lifespan="off")
    config.load()
    kind = protocol_class(head_seconds=20.0, idle_seconds=idle_seconds)
    protocols: list[TimeoutProtocol] = []

    def protocol() -> TimeoutProtocol:
        protocols.append(kind(config=config, server_state=ServerState(), app_state={}))
        return protocols[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\n")
        await writer.drain()
        async with asyncio.timeout(20):
            while not protocols:
                await asyncio.sleep(0)
        yield (reader, writer), protocols[0]
    finally:
        writer.close()
        protocols[0].transport.abort()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


async def answered(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        lines = head.lower().split(b"\r\n")
        (length,) = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")]
        return await reader.readexactly(length)


@FEW
@given(
    lengths=st.lists(st.integers(1, 400_000), min_size=1, max_size=6),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    chunked=st.booleans(),
)
def test_bodies__arrive_whole_however_they_are_cut(
    lengths: list[int], cuts: list[float], chunked: bool
) -> None:
    content = random.Random(str(lengths)).randbytes(sum(lengths))
    second = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nend"

    async def exchange() -> None:
        application = Application()
        application.may_read.set()
        async with connected(application) as ((reader, writer), _):
            if chunked:
                sent, position = b"Transfer-Encoding: chunked\r\n\r\n", 0
                for length in lengths:
                    sent += b"%x\r\n" % length + content[position : position + length] + b"\r\n"
                    position += length
                sent += b"0\r\n\r\n"
            else:
                sent = b"Content-Length: %d\r\n\r\n" % len(content) + content
            sent += second
            ends = [0, *sorted(int(cut * len(sent)) for cut in cuts), len(sent)]
            for start, end in pairwise(ends):
                writer.write(sent[start:end])
                await writer.drain()
                await asyncio.sleep(0)
            assert await answered(reader) == str(len(content)).encode()
            assert await answered(reader) == b"3"
        assert application.bodies == [content, b"end"]

    asyncio.run(exchange())


def test_bodies__wait_in_the_socket_while_nobody_reads_them() -> None:
    size = 64 << 20

    async def exchange() -> None:
        application = Application()
        async with connected(application) as ((reader, writer), protocol):
            writer.write(b"Content-Length: %d\r\n\r\n" % size)
            writer.write(bytes(size))
            held, since = -1, 0
            async with asyncio.timeout(20):
                while since < 20:
                    await asyncio.sleep(0.01)
                    held, before = len(protocol.cycle.body) if protocol.cycle else -1, held
                    since = since + 1 if held == before > 0 else 0
            assert held <= 2 << 20
            application.may_read.set()
            assert await answered(reader) == str(size).encode()

    asyncio.run(exchange())


def test_bodies__may_take_long_as_long_as_they_are_not_silent() -> None:
    async def exchange() -> None:
        application = Application()
        application.may_read.set()
        async with connected(application, idle_seconds=0.5) as ((reader, writer), _):
            writer.write(b"Content-Length: 20\r\n\r\n")
            for _ in range(20):
                writer.write(b"x")
                await asyncio.sleep(0.1)
            assert await answered(reader) == b"20"

    asyncio.run(exchange())


@pytest.mark.parametrize("sent", [0, 1, 300_000])
def test_bodies__that_fall_silent_anywhere_are_given_up(sent: int) -> None:
    async def exchange() -> None:
        application = Application()
        application.may_read.set()
        async with connected(application, idle_seconds=0.3) as ((reader, writer), _):
            writer.write(b"Content-Length: 1000000\r\n\r\n")
            await asyncio.sleep(0.1)
            for _ in range(3):
                writer.write(bytes(sent))
                await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                assert await reader.read() == b""
                while not application.bodies:
                    await asyncio.sleep(0.01)
        assert application.bodies == [bytes(3 * sent) + b" and then it broke off"]

    asyncio.run(exchange())


def test_bodies__that_nobody_wants_are_passed_over() -> None:
    async def exchange() -> None:
        application = Application(answers_first=True)
        async with connected(application) as ((reader, writer), protocol):
            writer.write(b"Content-Length: 1000000\r\n\r\n")
            assert await answered(reader) == b"enough"
            writer.write(bytes(1_000_000))
            await writer.drain()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await answered(reader) == b"enough"
            assert not protocol.cycle.body

    asyncio.run(exchange())
