"""A PostgreSQL server on localhost for tests: Debian's own, with a folder that lives as long as the block."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from tests.servers.binaries import find_binary, free_port

FOLDERS = ("/usr/lib/postgresql/*/bin",)
PASSWORD = "of-the-tests"
START_SECONDS = 60.0
# It outlives processes, not machines, here: the system's cache is durable enough and much faster.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
}


class PostgresServer:
    """A running server; it may be stopped, killed and started again on the same port with the same data."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.port = free_port()
        self.log = folder / "log"
        self._data = folder / "data"
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database `postgres`."""
        return self.database_url("postgres")

    def database_url(self, name: str, *, port: int | None = None) -> str:
        """SQLAlchemy's URL of a database; with a port, by way of a proxy there."""
        return f"postgresql+psycopg://cocu:{PASSWORD}@127.0.0.1:{port or self.port}/{name}"

    def new_database(self) -> str:
        """The name of a new, empty database that sorts as English dictionaries do, not as bytes do."""
        name = f"catalog_{next(self._names)}_{time.monotonic_ns()}"
        with self.connect() as connection:
            connection.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
            )
        return name

    def new_catalog(self) -> str:
        """SQLAlchemy's URL of such a database."""
        return self.database_url(self.new_database())

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the test's own, committing each statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="cocu",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def start(self) -> None:
        """Starts it and waits until it answers; after `kill` this includes its recovery.

        Nothing to do where it runs.
        """
        if self._process is not None:
            return
        settings = [argument for key, value in SETTINGS.items() for argument in ("-c", f"{key}={value}")]
        command = [str(self._program), "-D", str(self._data), "-p", str(self.port), *settings]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, **_not_root()
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(
                        f"PostgreSQL did not start: {self.log.read_text('utf-8', 'replace')[-2000:]}"
                    ) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """A fast shutdown: transactions are rolled back, clients are told."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """An immediate shutdown, as of a crash: nothing is flushed, the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def restart(self, *, down_seconds: float = 0.0) -> None:
        """`kill`, some time without a server, `start`."""
        self.kill()
        time.sleep(down_seconds)
        self.start()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server with an empty cluster; skips the test where PostgreSQL is not installed."""
    program = find_binary("postgres", folders=FOLDERS, package="postgresql")
    initdb = find_binary("initdb", folders=FOLDERS, package="postgresql")
    # Not below pytest's folder: that is closed to the other user as whom the server runs under root.
    folder = Path(tempfile.mkdtemp(prefix="cocu-postgres-"))
    server = PostgresServer(folder, program)
    try:
        _create(folder, initdb)
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _create(folder: Path, initdb: Path) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    identity = _not_root()
    if identity:
        for path in (folder, password):
            os.chown(path, identity["user"], identity["group"])
    options = ["--username=cocu", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"]
    subprocess.run(
        [initdb, "-D", folder / "data", *options, "--locale=C", "--no-sync", "--no-instructions"],
        check=True,
        capture_output=True,
        cwd=folder,
        **identity,
    )


def _not_root() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; then it runs as a user who owns nothing else."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}
