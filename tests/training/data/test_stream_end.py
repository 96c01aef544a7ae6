"""However a process ends that reads a stream, its workers end with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

pytest.importorskip("torch")

from tests.servers.tcp_proxy import tcp_proxy
from tests.training.data.platforms import Served

from cocu_training.service import processes

pytestmark = pytest.mark.slow

LONGEST = 150.0
"""Seconds for what takes none: a process that hangs does so for ever."""


class Reading:
    """A reading process, and what it started."""

    def __init__(self, process: subprocess.Popen[str], mark: str) -> None:
        self.process = process
        self._mark = mark

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def workers(self) -> list[int]:
        workers: list[int] = json.loads(self.line())
        return workers

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ended(self) -> int:
        """Its exit status, once nothing is left of it."""
        status = self.process.wait(LONGEST)
        end = time.monotonic() + LONGEST
        while left := processes.find_marked(self._mark):
            assert time.monotonic() < end, f"it is gone, and left the processes {left}"
            time.sleep(0.05)
        return status


@contextmanager
def reading(served: Served, repository: Path, end: str) -> Iterator[Reading]:
    mark = uuid4().hex
    command = [sys.executable, "-m", "tests.training.data.reader_process", served.url, served.curation]
    with subprocess.Popen(
        [*command, str(served.tokenizer), end],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", processes.MARK: mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Reading(process, mark)
        finally:
            process.kill()
            processes.kill_marked(mark, seconds=0.0)


@pytest.mark.parametrize(("end", "status"), [("returns", 0), ("raises", 1)])
def test_a_process_ends_in_mid_epoch(served: Served, repository: Path, end: str, status: int) -> None:
    with reading(served, repository, end) as read:
        assert len(read.workers()) == 2
        read.go_on()
        assert read.ended() == status


def test_closing_ends_also_a_worker_that_does_not_answer(served: Served, repository: Path) -> None:
    with reading(served, repository, "closes") as read:
        first, second = read.workers()
        os.kill(first, signal.SIGSTOP)
        read.go_on()
        assert read.workers() == []
        assert processes.start_time(first) is processes.start_time(second) is None
        read.go_on()
        assert read.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_while_the_platform_is_silent(
    served: Served, repository: Path, number: signal.Signals
) -> None:
    port = urlsplit(served.url).port
    assert port is not None
    with tcp_proxy(port) as proxy:
        through = replace(served, url=f"http://127.0.0.1:{proxy.port}")
        request_seen = threading.Semaphore(0)

        def watch(request: bytes) -> bool:
            if b"epoch=1&" in request:
                proxy.silent = True
                request_seen.release()
            return False

        with reading(through, repository, "waits") as read:
            assert len(read.workers()) == 2
            proxy.cut_when(watch, forward=False)
            read.go_on()
            assert request_seen.acquire(timeout=LONGEST)
            read.process.send_signal(number)
            assert read.ended() == -number
