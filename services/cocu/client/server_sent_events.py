"""Reading `text/event-stream`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def data_of_events(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""The data of each event of a stream that arrives in any pieces; other fields are skipped.

    Lines end at line feeds alone (our server sends no other), because JSON may hold every other line
    separator.

    >>> list(data_of_events([b'id: 1\nda', b'ta: {"a": 1}\n\n: ping\n\n']))
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
