"""A Triton Inference Server for tests: the real binary with its Python backend, on a CPU.

It comes from an environment of its own (`make .venv-triton/.installed`): its wheel wants another numpy.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.servers.binaries import absent, free_port

REPOSITORY = Path(__file__).parent.parent.parent
ENVIRONMENT = REPOSITORY / ".venv-triton"
PACKAGES = ENVIRONMENT / "lib" / "python3.11" / "site-packages"
SERVER = PACKAGES / "pytriton" / "tritonserver"
PATIENCE = 120.0


class TritonServer:
    """One server over one model repository; it keeps its ports when it is started again."""

    def __init__(
        self,
        repository: Path,
        folder: Path,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        threads: int = 1,
    ) -> None:
        if sys.version_info[:2] != (3, 11):
            # No failure where servers are required either: nothing could be installed.
            pytest.skip("the wheel of Triton's server is for Python 3.11; with that these tests run")
        if not (SERVER / "bin" / "tritonserver").is_file():
            absent("Triton's server is not installed; make .venv-triton/.installed installs it")
        self.repository = repository
        self.grpc_port, self.http_port = free_port(), free_port()
        self.log = folder / "triton.log"
        self._shared_memory = f"cocu-test-{uuid.uuid4().hex[:12]}"
        self._environment = {**os.environ, **_environment(threads), **(environment or {})}
        self._command = [
            str(SERVER / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={_backends(folder)}",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.grpc_port}",
            "--http-address=127.0.0.1",
            f"--http-port={self.http_port}",
            "--allow-metrics=false",
            "--exit-timeout-secs=5",
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What COCU_ENCODERS_URL is for this server."""
        return f"grpc://127.0.0.1:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        """Where it answers the same over HTTP."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def group(self) -> int:
        """The process group of the server and its models."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Starts the server; it must not run. With `wait`, it returns when every model is ready."""
        assert self._process is None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Returns when every model is ready; fails with the log when the server ends before that."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self._last_words()
            if self._ready():
                return
            time.sleep(0.05)
        raise AssertionError(self._last_words())

    def kill(self) -> None:
        """kill -9 of the server and of the processes of its models."""
        if self._process is not None:
            # The models' processes outlive a server that is killed; they share its group.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        for left in Path("/dev/shm").glob(f"{self._shared_memory}*"):
            left.unlink(missing_ok=True)

    def pause(self) -> None:
        """Stops the server without ending it: it accepts connections and never answers."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused server go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http_url}/v2/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _last_words(self) -> str:
        said = self.log.read_text(errors="replace")
        errors = [line for line in said.splitlines() if line.startswith(("E", "error:"))]
        return "\n".join(["Triton did not become ready:", *errors, said[-2000:]])


@contextmanager
def triton_server(repository: Path, folder: Path, **options: Any) -> Iterator[TritonServer]:
    """A running server over the model repository, killed with the block; it keeps its files in `folder`.

    options: of TritonServer, such as arguments=("--model-control-mode=explicit", "--load-model=*").
    """
    server = TritonServer(repository, folder, **options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _environment(threads: int) -> dict[str, str]:
    """That of the activated environment: the models import its packages."""
    return {
        "VIRTUAL_ENV": str(ENVIRONMENT),
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(PACKAGES / "nvidia_pytriton.libs"),
        "OMP_NUM_THREADS": str(threads),
    }


def _backends(folder: Path) -> Path:
    """The server's backends with the program that runs Python models, which the wheel keeps elsewhere."""
    backends = folder / "backends"
    python = backends / "python"
    if not python.is_dir():
        python.mkdir(parents=True)
        for file in (SERVER / "backends" / "python").iterdir():
            if file.is_file():
                (python / file.name).symlink_to(file)
        stub = "triton_python_backend_stub"
        (python / stub).symlink_to(SERVER / "python_backend_stubs" / "3.11" / stub)
    return backends
