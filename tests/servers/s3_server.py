"""An S3 server on localhost for tests: it answers the real API over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; it keeps everything in memory and ends with the block."""
    # The system gives a free port; moto says which as soon as it listens.
    command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Running on http://" in line:
                yield "http://" + line.split("http://")[1].strip()
                break
        else:
            raise AssertionError("the S3 server for tests ended before it listened")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
