"""Graphs built in a process of their own, on a copy of the points: building keeps Python's lock for minutes.

The process that holds the folder sends the points there in batches, a batch whenever nobody asks it anything
(`GraphBuild.step`), and what is written meanwhile afterwards; the finished copy then takes the place of the
points it was made of. A build that does not end so leaves everything as it was.

    python -m cocu.vectors.edge_graph FOLDER DIMENSIONS FIELD,FIELD DESCRIPTOR
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from cocu.vectors.edge_shard import OwnerShard, Point, create_engine, upsert
from cocu.vectors.process import connected_child

BATCH = 512
"""Points sent at once: some ten milliseconds, in which no search is answered."""
MAX_JOURNAL_POINTS = 100_000
"""Points written during a build, held in memory, from which on it is given up."""


class GraphBuild:
    """A build in progress; `step` brings it on by a few milliseconds of work of this process."""

    def __init__(self, shard: OwnerShard, dimensions: int, indexed: Sequence[str]) -> None:
        self.shard = shard
        self._version = secrets.token_hex(6)
        folder = shard.folder / self._version
        shard.journal = []
        self._batches: Iterator[list[Point]] = shard.batches(BATCH)
        self._process, self._connection = connected_child(
            "cocu.vectors.edge_graph", str(folder), str(dimensions), ",".join(indexed)
        )
        self._acknowledged = True
        self._building = False
        self._outside = 0

    @property
    def waits_for(self) -> list[Connection]:
        """What becomes readable when there is something to do again; nothing while there is."""
        return [] if self._acknowledged else [self._connection]

    @property
    def outside(self) -> int:
        """Points that will be in no graph once this one is built."""
        return self._outside + (sum(map(len, self.shard.journal or [])) if self._building else 0)

    def step(self) -> bool:
        """Send a batch, if the last was taken, or let the finished copy take its place; whether all is done.

        Raises EOFError or OSError where the builder has ended.
        """
        if not self._acknowledged:
            if not self._connection.poll():
                return False
            self._connection.recv()
            self._acknowledged = True
        batch = next(self._batches, None)
        journal = self.shard.journal or []
        if sum(len(points) for points in journal) > MAX_JOURNAL_POINTS:
            raise OSError("too much was written meanwhile")
        if batch is None and journal:
            points = journal.pop(0)
            self._outside += len(points) if self._building else 0
            self._send("points", _small(points))
        elif batch is None and not self._building:
            self._building = True
            self._send("build", None)
        elif batch is None:
            self._connection.send(("close", None))
            self._connection.recv()
            self.shard.replace_by(self._version, self._outside)
            self.end()
            return True
        else:
            self._send("points", batch)
        return False

    def end(self) -> None:
        """Stop the builder. What it left behind is deleted when the shard is opened next."""
        self.shard.journal = None
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _send(self, what: str, points: Sequence[Point] | None) -> None:
        self._connection.send((what, points))
        self._acknowledged = False


def _small(points: Sequence[Point]) -> list[Point]:
    return [(id, np.asarray(vector, np.float32).tolist(), payload) for id, vector, payload in points]


def main(folder: str, dimensions: str, fields: str, descriptor: str) -> None:
    """Take points, build, take what came meanwhile; every message is answered when it is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Searches and the work of the platform come first.
    os.nice(10)
    engine = create_engine(Path(folder), int(dimensions), [name for name in fields.split(",") if name])
    with Connection(int(descriptor)) as connection:
        while True:
            try:
                what, points = connection.recv()
            except EOFError:
                return
            if what == "points":
                upsert(engine, points)
            elif what == "build":
                engine.optimize()
            else:
                engine.flush()
                engine.close()
            connection.send(what)
            if what == "close":
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
