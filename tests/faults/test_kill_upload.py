"""kill -9 in the middle of an upload: what had been told to be safe is, and the rest follows."""

from __future__ import annotations

import base64
import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.workers.tiny_encoder import write_tiny_encoder

TUS = {"Tus-Resumable": "1.0.0"}
SIZE = 60_000_000


def start(data: Path, encoders: Path, repository: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.faults.serving_process", str(data), str(encoders)],
        cwd=repository,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def piece(url: str, offset: int, content: bytes | Iterator[bytes]) -> httpx.Response:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return httpx.patch(url, content=content, headers=headers, timeout=60)


@pytest.mark.slow
def test_upload__goes_on_after_the_server_was_killed_in_mid_piece(tmp_path: Path, repository: Path) -> None:
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    content = np.random.default_rng(0).bytes(SIZE)
    process, url = start(tmp_path / "data", tmp_path / "encoders", repository)
    try:
        dataset = httpx.post(f"{url}/v1/datasets", json={"name": "set"}).json()["id"]
        said = {
            "Upload-Length": str(SIZE),
            "Upload-Metadata": f"filename {base64.b64encode(b'a.tar').decode()}",
        }
        made = httpx.post(f"{url}/v1/datasets/{dataset}/uploads", headers={**TUS, **said})
        location = made.headers["Location"]
        noted = 0

        def until_some_is_safe() -> Iterator[bytes]:
            nonlocal noted
            for at in range(0, SIZE, 1_000_000):
                yield content[at : at + 1_000_000]
                noted = int(httpx.head(url + location, headers=TUS).headers["Upload-Offset"])
                if noted:
                    kill(process)
                time.sleep(0.1)

        with pytest.raises(httpx.TransportError):
            piece(url + location, 0, until_some_is_safe())
        assert 0 < noted < SIZE

        process, url = start(tmp_path / "data", tmp_path / "encoders", repository)
        offset = int(httpx.head(url + location, headers=TUS).headers["Upload-Offset"])
        assert offset >= noted
        assert piece(url + location, offset, content[offset:]).status_code == 204
        upload = httpx.get(f"{url}/v1/datasets/{dataset}/uploads/a.tar").json()
        assert (upload["sha256"], upload["bytes"]) == (hashlib.sha256(content).hexdigest(), SIZE)
    finally:
        kill(process)
