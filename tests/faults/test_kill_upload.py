"""kill -9 in the middle of an upload: acknowledged bytes are stored, and the client sends the rest."""

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
from tests.pipeline.tiny_encoder import write_tiny_encoder

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
        upload_headers = {
            "Upload-Length": str(SIZE),
            "Upload-Metadata": f"filename {base64.b64encode(b'a.tar').decode()}",
        }
        response = httpx.post(f"{url}/v1/datasets/{dataset}/uploads", headers={**TUS, **upload_headers})
        location = response.url.join(response.headers["Location"]).path
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


@pytest.mark.slow
def test_upload__whose_server_was_killed_fails_at_the_next_start_and_leaves_nothing(
    tmp_path: Path, repository: Path
) -> None:
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    objects = tmp_path / "data" / "objects"
    process, url = start(tmp_path / "data", tmp_path / "encoders", repository)
    try:
        dataset = httpx.post(f"{url}/v1/datasets", json={"name": "set"}).json()["id"]

        def until_some_came() -> Iterator[bytes]:
            while not any(part.stat().st_size for part in objects.rglob("*.part")):
                yield bytes(100_000)
                time.sleep(0.02)
            kill(process)
            yield bytes(100_000)

        with pytest.raises(httpx.TransportError):
            httpx.put(f"{url}/v1/datasets/{dataset}/uploads/a.tar", content=until_some_came(), timeout=60)
        (part,) = objects.rglob("*.part")

        process, url = start(tmp_path / "data", tmp_path / "encoders", repository)
        upload = httpx.get(f"{url}/v1/datasets/{dataset}/uploads/a.tar").json()
        assert (upload["state"], "send it again" in upload["detail"]) == ("failed", True)
        report = httpx.get(f"{url}/v1/datasets/{dataset}/report").json()
        assert (report["complete"], report["uploads_failed"]) == (True, 1)
        # While the server runs: it looks every few seconds.
        end = time.monotonic() + 30
        while part.exists() and time.monotonic() < end:
            time.sleep(0.2)
        assert not part.exists()
    finally:
        kill(process)
