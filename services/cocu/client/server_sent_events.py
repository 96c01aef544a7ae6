"""Server-sent events: a reader of `text/event-stream`, and a stream that survives lost connections."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

import httpx

from cocu.client.exceptions import ConnectionFailedError
from cocu.client.transport import Call, Transport
from cocu.schemas import CurationEvent, PlatformEvent
from cocu.schemas.training import RunEvent

Event = TypeVar("Event", CurationEvent, PlatformEvent, RunEvent)


def follow(
    transport: Transport, path: str, model: type[Event], *, after: int | None, reconnects: int
) -> Generator[Event, None, None]:
    """The events of a stream after this id (None: from now on) until it ends; a lost connection is resumed.

    Raises ConnectionFailedError when it breaks off more than `reconnects` times without an event in between.
    """
    last, failures = after, 0
    while True:
        headers = {"Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        try:
            with transport.stream(Call(path=path, headers=headers)) as answer:
                for data in read_event_data(answer.iter_bytes()):
                    event = model.model_validate_json(data)
                    last, failures = event.id, 0
                    yield event
            return
        except (ConnectionFailedError, httpx.TransportError) as error:
            failures += 1
            if failures > reconnects:
                raise ConnectionFailedError(f"the events of {path} broke off: {error}") from error
            time.sleep(0.2 * 2**failures)


def read_event_data(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""The data of each event of a stream, which may be cut anywhere; other fields are skipped.

    Only line feeds end a line, because JSON may contain every other line separator. Our server sends no
    others.

    >>> list(read_event_data([b'id: 1\nda', b'ta: {"a": 1}\n\n: ping\n\n']))
    ['{"a": 1}']
    """
    rest = b""
    data: list[str] = []
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" ").decode())
            elif not line and data:
                yield "\n".join(data)
                data = []
