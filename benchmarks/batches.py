"""The batch stream over HTTP: images, texts, and what slow readers cost.

- Images with one client, against webdataset reading the platform's own tars from disk: bytes of the image,
  caption and (for the stream) texts of every sample, nothing decoded.
- Arrow rows without images.
- Memory of the server while ten readers hold a stream each and take nothing.

The server is a process of its own; everything is on one machine. Each byte of an image is copied four times:
into the server's memory, into a chunk, into the socket, out of it into memory of Arrow. So the limits are the
memory's bandwidth and the processor time of both sides; without images, the processor time of the draws.

python -m benchmarks.batches
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import webdataset
from PIL import Image
from tests.pipeline.tiny_encoder import write_tiny_encoder

from benchmarks.background_work import wait_for_graphs, wait_for_tasks
from benchmarks.report import report
from cocu.client import CocuClient
from cocu.client.batches import MEDIA_TYPE

RUNS = 5
READERS = 10
WORDS = ("dog", "cat", "bench", "tree", "car", "boat", "house", "street", "horse", "bird")
LEAST_RATIO = 0.8
LEAST_ROWS = 1_000_000
MOST_BATCHES = 4.0


@dataclass(frozen=True)
class Kind:
    """Images of one kind: sides in pixels, and how much noise makes them how large."""

    name: str
    samples: int
    width: int
    height: int
    noise: float


SMALL = Kind("working copies", 4000, 256, 256, 24.0)
LARGE = Kind("photographs", 1200, 640, 480, 28.0)
TINY = Kind("texts", 20_000, 16, 16, 10.0)


@dataclass(frozen=True)
class Served:
    """A curation of such images on a running server."""

    kind: Kind
    server: Server
    curation: str

    @property
    def tars(self) -> list[str]:
        """The tars that the platform made of them."""
        with CocuClient(self.server.url) as client:
            dataset = client.curations.get(self.curation).dataset
        return sorted(
            map(str, (self.server.data / "objects" / "datasets" / dataset / "shards").glob("*.tar"))
        )


@dataclass(frozen=True)
class Server:
    """A `cocu serve` of its own."""

    url: str
    data: Path
    process: int

    def resident(self) -> int:
        """Bytes of memory that are its own: files that are mapped do not count."""
        status = Path(f"/proc/{self.process}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) << 10


def main() -> None:
    """Curate three kinds of images, then measure."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        server = stack.enter_context(serving(Path(name)))
        ratios = [against_webdataset(curated(server, kind, Path(name))) for kind in (SMALL, LARGE)]
        texts = curated(server, TINY, Path(name))
        wait_for_graphs()
        rows = rows_per_second(texts)
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        batches_held = batches_per_reader(curated(server, LARGE, Path(name)))
    print(
        f"load of the machine over the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    report(
        "batches memory",
        batches_held,
        "batches per slow reader",
        f"<= {MOST_BATCHES:g}",
        batches_held <= MOST_BATCHES,
    )
    report("batches rows", rows, "rows/s without images", f">= {LEAST_ROWS}", rows >= LEAST_ROWS)
    for name, ratio in zip(("batches photographs", "batches"), reversed(ratios), strict=True):
        report(name, ratio, "of webdataset from disk", f">= {LEAST_RATIO:g}", ratio >= LEAST_RATIO)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A platform of its own process, on a free port, with an encoder that costs nothing."""
    encoder = write_tiny_encoder(folder / "encoder")
    command = [sys.executable, "-m", "cocu", "serve", "--port", "0", "--encoder", str(encoder)]
    command += ["--data", str(folder / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = next(word.rstrip(",") for word in line.split() if word.startswith("http"))
            yield Server(url, folder / "data", process.pid)
        finally:
            process.terminate()


def curated(server: Server, kind: Kind, folder: Path) -> Served:
    """A completed curation of such images."""
    file = folder / f"{kind.name.replace(' ', '-')}.tar"
    file.write_bytes(tar_of(kind))
    with CocuClient(server.url, timeout=600) as client:
        dataset = client.datasets.create(kind.name)
        client.datasets.upload(dataset.id, file)
        client.datasets.wait(dataset.id, timeout=600)
        curation = client.curations.wait(client.curations.create(dataset.id).id, timeout=600)
    # Archives go on into the vector store, which would take a core from what is measured.
    wait_for_tasks(server.data)
    file.unlink()
    return Served(kind, server, curation.id)


def tar_of(kind: Kind) -> bytes:
    """Images with captions of three words each."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[: kind.height, : kind.width]
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for number in range(kind.samples):
            waves = np.stack([rows * random.random() + columns * random.random() for _ in range(3)], axis=2)
            noise = random.standard_normal((kind.height, kind.width, 1)) * kind.noise
            pixels = np.clip(128 + 100 * np.sin(waves / 20) + noise, 0, 255).astype(np.uint8)
            image = io.BytesIO()
            Image.fromarray(pixels).save(image, "JPEG", quality=90)
            caption = f"a {' and a '.join(random.choice(WORDS, 3))}, number {number}"
            for extension, data in (("jpg", image.getvalue()), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{number:06d}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return target.getvalue()


def against_webdataset(served: Served) -> float:
    """Samples per second of the stream, as a part of webdataset's; runs by turns, medians."""
    tars, size = served.tars, 0
    stream, disk = [], []
    with CocuClient(served.server.url) as client:
        for run in range(RUNS + 1):
            started = time.perf_counter()
            size, count = read_stream(client, served.curation, epoch=run)
            stream.append(count / (time.perf_counter() - started))
            started = time.perf_counter()
            assert read_tars(tars) == (size, count) == (size, served.kind.samples)
            disk.append(count / (time.perf_counter() - started))
    streamed, read = statistics.median(stream[1:]), statistics.median(disk[1:])
    mean = size / served.kind.samples
    print(
        f"{served.kind.name}, JPEG of {mean / 1000:.0f} kB: stream {streamed:,.0f} samples/s "
        f"({streamed * mean / 1e6:,.0f} MB/s), webdataset {read:,.0f} ({read * mean / 1e6:,.0f} MB/s): "
        f"{streamed / read:.2f}"
    )
    return streamed / read


def read_stream(client: CocuClient, curation: str, *, epoch: int) -> tuple[int, int]:
    """Bytes of images, and samples, of an epoch."""
    size = count = 0
    for batch in client.batches.stream(curation, epoch=epoch, global_batch=256):
        for image, caption, texts in zip(batch.images, batch.captions, batch.texts, strict=True):
            assert image is not None
            size += len(image)
            count += bool(caption) and len(texts) == 3
    return size, count


def read_tars(tars: list[str]) -> tuple[int, int]:
    """The same from tars."""
    size = count = 0
    for sample in webdataset.WebDataset(tars, shardshuffle=False):
        size += len(sample["jpg"])
        count += bool(sample["txt"])
    return size, count


def rows_per_second(served: Served) -> float:
    """Rows decoded per second without images."""
    speeds, size = [], 0
    with CocuClient(served.server.url) as client:
        for epoch in range(RUNS + 1):
            started = time.perf_counter()
            tables = [
                batch.table for batch in client.batches.stream(served.curation, images=False, epoch=epoch)
            ]
            speeds.append(sum(table.num_rows for table in tables) / (time.perf_counter() - started))
            size = sum(table.nbytes for table in tables)
    median = statistics.median(speeds[1:])
    print(
        f"without images: {median:,.0f} rows/s of {size / served.kind.samples:.0f} bytes; "
        f"the first epoch, which reads the shards, {speeds[0]:,.0f}"
    )
    return median


def batches_per_reader(served: Served) -> float:
    """Memory that ten readers that take nothing cost, each, in batches of 256 images."""
    params = {"global_batch": 256}
    # Before the first stream: what is freed after it may be kept, and would hide what the readers cost.
    before = served.server.resident()
    with httpx.stream(
        "GET", f"{served.server.url}/v1/curations/{served.curation}/batches", params=params
    ) as response:
        batch = sum(map(len, response.iter_bytes())) / (served.kind.samples / 256)
    with ExitStack() as stack, httpx.Client(timeout=60) as http:
        for seed in range(READERS):
            url = f"{served.server.url}/v1/curations/{served.curation}/batches"
            answer = stack.enter_context(
                http.stream("GET", url, params={**params, "seed": seed}, headers={"Accept": MEDIA_TYPE})
            )
            next(answer.iter_raw(1000))
        peak = 0
        for _ in range(30):
            time.sleep(0.1)
            peak = max(peak, served.server.resident())
    print(
        f"{READERS} readers that take nothing: {(peak - before) / 1e6:,.0f} MB more than the "
        f"{before / 1e6:,.0f} MB before; a batch is {batch / 1e6:.0f} MB"
    )
    return (peak - before) / READERS / batch


if __name__ == "__main__":
    main()
