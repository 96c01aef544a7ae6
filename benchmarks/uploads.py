"""Uploads over HTTP, hashed while they are stored, against `cat` of the same file to the same disk.

The platform runs in a process of its own on localhost, its data beside the file. Both ways end on the disk:
an upload is synchronised before it is answered, so `cat` is followed by `sync` of the file it wrote; what
`cat` alone takes, into the page cache, is printed too. The client is `curl`, as another program would be.
What is uploaded is a tar that ends at once, so that reading it takes no part.

The limit is what an upload does and `cat` does not: the same `curl` to a socket whose bytes are thrown away,
and SHA-256. Both are measured alone; the two ratios that follow from them are those of an upload that does
one thing after the other and of one that does everything at the same time, which takes three free cores.
"""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks.archive_lookup import serving
from benchmarks.report import report
from cocu.client import CocuClient

BYTES = 512 << 20
REPEATS = 5
BOUND = 0.5


def main() -> None:
    """Print seconds and the ratio, by one PUT and by tus."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("COCU_BENCHMARK_FOLDER")) as name:
        folder = Path(name)
        file = write_file(folder / "photos.tar")
        with serving(folder / "data") as url, CocuClient(url) as client:
            ways: dict[str, Callable[[int], float]] = {
                "cat, not synchronised": lambda number: cat(
                    file, folder / f"plain-{number}", synchronised=False
                ),
                "cat and sync": lambda number: cat(file, folder / f"copy-{number}", synchronised=True),
                "network alone": lambda _: network(file),
                "SHA-256 alone": lambda _: hashing(),
                "PUT": lambda number: put(url, client, file, number),
                "tus": lambda number: tus(url, client, file, number),
            }
            durations: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(REPEATS):
                for way, run in ways.items():
                    durations[way].append(run(number))
    speeds = {way: BYTES / statistics.median(seconds) for way, seconds in durations.items()}
    for way, speed in speeds.items():
        print(f"{way}: {speed / 1e6:.0f} MB/s (median of {REPEATS})")
    parts = [
        speeds[part] / speeds["cat and sync"] for part in ("network alone", "SHA-256 alone", "cat and sync")
    ]
    one_by_one = 1 / sum(1 / part for part in parts)
    print(f"limit: {one_by_one:.2f} x cat one after the other, {min(parts):.2f} x cat all at once")
    for way, label in (("tus", "resumable upload throughput"), ("PUT", "upload throughput")):
        ratio = speeds[way] / speeds["cat and sync"]
        report(label, ratio, "x cat", f">= {BOUND}", ratio >= BOUND)


def write_file(target: Path) -> Path:
    """A tar of nothing, and then bytes that do not compress."""
    with target.open("wb") as file:
        file.write(bytes(1024))
        for _ in range(BYTES // (1 << 20)):
            file.write(os.urandom(1 << 20))
        file.truncate(BYTES)
    return target


def cat(file: Path, target: Path, *, synchronised: bool) -> float:
    """Seconds of a copy by cat."""
    also = f' && sync "{target}"' if synchronised else ""
    return timed("sh", "-c", f'cat "{file}" > "{target}"{also}', written=target)


def network(file: Path) -> float:
    """Seconds until a socket has what curl sends, which goes nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=throw_away, args=(listening,))
        thread.start()
        target = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        seconds = timed(
            "curl", "--silent", "--fail", "--header", "Expect:", "--upload-file", str(file), target
        )
        thread.join()
    return seconds


def throw_away(listening: socket.socket) -> None:
    """Receive one request of BYTES and say that all is well."""
    connection, _ = listening.accept()
    memory = bytearray(1 << 20)
    with connection:
        received = connection.recv_into(memory)
        received -= memory.index(b"\r\n\r\n") + 4
        while received < BYTES:
            received += connection.recv_into(memory)
        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def hashing() -> float:
    """Seconds of SHA-256 of as many bytes."""
    block, digest = os.urandom(1 << 20), hashlib.sha256()
    started = time.perf_counter()
    for _ in range(BYTES // len(block)):
        digest.update(block)
    return time.perf_counter() - started


def put(url: str, client: CocuClient, file: Path, number: int) -> float:
    """Seconds of an upload in one request."""
    dataset = client.datasets.create(f"put {number}").id
    target = f"{url}/v1/datasets/{dataset}/uploads/photos.tar"
    seconds = timed("curl", "--silent", "--fail", "--upload-file", str(file), target, "--output", os.devnull)
    client.datasets.delete(dataset)
    return seconds


def tus(url: str, client: CocuClient, file: Path, number: int) -> float:
    """Seconds of a resumable upload whose one piece is all of it."""
    dataset = client.datasets.create(f"tus {number}").id
    speaks = {"Tus-Resumable": "1.0.0"}
    announced = {"Upload-Length": str(BYTES), "Upload-Metadata": "filename cGhvdG9zLnRhcg=="}
    created = httpx.post(f"{url}/v1/datasets/{dataset}/uploads", headers={**speaks, **announced})
    headers = {**speaks, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    said = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    target = str(created.url.join(created.raise_for_status().headers["Location"]))
    seconds = timed("curl", "--silent", "--fail", *said, "-X", "PATCH", "--upload-file", str(file), target)
    client.datasets.delete(dataset)
    return seconds


def timed(*command: str, written: Path | None = None) -> float:
    """Seconds of a command; what it wrote is deleted."""
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    if written is not None:
        written.unlink()
    return seconds


if __name__ == "__main__":
    main()
