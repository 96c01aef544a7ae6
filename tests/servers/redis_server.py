"""A Redis server on localhost for tests: it can be emptied, filled, stopped, killed and started again."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from tests.servers.binaries import find_binary, free_port

PATIENCE = 20.0


class RedisServer:
    """A server on a port of its own, which it keeps when it is started again; it writes nothing to disk.

    So a restart loses every message, as losing the machine would.
    """

    def __init__(self, folder: Path) -> None:
        self._binary = find_binary("redis-server", package="redis-server")
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What COCU_BROKER_URL is set to."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, and waits until it answers; nothing to do where it runs."""
        if self._process is not None:
            return
        options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": self._folder,
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "logfile": self._folder / "redis.log",
        }
        command = [str(self._binary)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it as an operator does: connections are closed in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a lost machine does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Ends it and starts it on the same port, empty."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Keeps its connections open and answers nothing, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Goes on after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """FLUSHALL: every message is gone."""
        with self.client() as client:
            client.flushall()

    def limit_memory(self, size: int) -> None:
        """Lets it hold this many bytes (0: any number); at the limit it refuses writes (`noeviction`)."""
        with self.client() as client:
            client.config_set("maxmemory", size)

    def fill(self) -> None:
        """Sets the limit below what it holds already: no write succeeds until `limit_memory(0)`."""
        self.limit_memory(1)

    def client(self) -> redis.Redis:
        """A connection to it; to be closed."""
        return redis.Redis(port=self.port, socket_timeout=5.0)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False

    def _end(self, kind: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(kind)
        self._process.wait(PATIENCE)
        self._process = None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server, empty; it ends with the block. Skips where redis-server is not installed."""
    with tempfile.TemporaryDirectory(prefix="cocu-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
