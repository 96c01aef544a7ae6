"""A process that reads a stream with worker processes, and ends in one of several ways.

    python -m tests.training.data.reader_process URL CURATION TOKENIZER returns|raises|closes|waits

It reads a batch, prints the numbers of its workers, and goes on after a line of standard input. waits: it
reads a whole epoch, and then asks for the next one.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path

from tests.training.data.platforms import Served
from tests.training.data.streams import CONFIGURATION, opened

KEPT: list[object] = []
"""What nothing collects before the process ends."""


def main(url: str, curation: str, tokenizer: str, end: str) -> None:
    stream = opened(Served(url, curation, Path(tokenizer)), CONFIGURATION.with_(workers=2))
    samples = stream.samples(0, start=0)
    if end == "waits":
        # All of it: what workers have ready would else be enough for the next.
        list(samples)
    KEPT.extend((stream, samples))
    if end != "waits":
        next(samples)
    print(json.dumps([child.pid for child in multiprocessing.active_children()]), flush=True)
    sys.stdin.readline()
    if end == "raises":
        raise RuntimeError("it ends by an error")
    if end == "closes":
        stream.close()
        stream.close()
        print(json.dumps([child.pid for child in multiprocessing.active_children()]), flush=True)
        sys.stdin.readline()
    if end == "waits":
        next(stream.samples(1, start=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
