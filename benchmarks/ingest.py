"""Ingest: a tar turned into checked shards by a running platform, beside reading the tar with `tarfile`.

Two tars: photographs (those of ../shared/datasets where they are, else smooth images of 640 x 480 made from
a seed, which cost about as much to decode), and 32 x 32 images, where the work per sample counts and not
that per pixel. The platform is `cocu serve` in a process of its own, without an encoder, so that nothing
follows ingest. The time runs from the answer to the upload, which is stored by then, to the state `ingested`.

The alternative reads every member with the standard library in stream mode and does nothing with it. The
limit is decoding, which ingest does with every image and the alternative does not: its rate alone, in one
thread of Pillow, is printed beside it.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.report import report

PHOTOGRAPHS = 1_200
SMALL = 10_000
REPEATS = 3
# Half of the ratios that were seen first (0.029 and 0.17): a slower decoder is no regression.
BOUNDS = {"photographs": 0.015, "small images": 0.08}


def main() -> None:
    """Print samples a second and the ratio for both tars."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("COCU_BENCHMARK_FOLDER")) as name:
        folder = Path(name)
        for kind, images in (("photographs", photographs()), ("small images", small_images())):
            count = write_tar(folder / f"{kind}.tar", images)
            measure(kind, folder / f"{kind}.tar", count, folder / f"data of {kind}")


def measure(kind: str, file: Path, count: int, data: Path) -> None:
    """Ingest and read one tar several times in turn, and report the ratio of the medians."""
    seconds: dict[str, list[float]] = {"ingest": [], "tarfile": [], "decoding": []}
    with serving(data) as url, httpx.Client(base_url=url, timeout=300) as client:
        ingest(client, file, "warm up", count)
        for number in range(REPEATS):
            seconds["ingest"].append(ingest(client, file, f"run {number}", count))
            seconds["tarfile"].append(read(file))
            seconds["decoding"].append(decode(file))
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    print(f"{kind}, {count:,} of {file.stat().st_size / count / 1e3:.1f} kB, samples/s: {shown}")
    ratio, bound = rates["ingest"] / rates["tarfile"], BOUNDS[kind]
    report(f"ingest of {kind}", ratio, "x tarfile", f">= {bound}", ratio >= bound)


def photographs() -> Iterator[bytes]:
    """Photographs, again and again until there are enough; made ones where there are none."""
    folder = Path(__file__).parent.parent.parent / "shared" / "datasets" / "coco-photos"
    real = [data for file in sorted(folder.glob("*.tar")) for data in images_of(file)]
    if real:
        print(f"photographs: {len(real)} real ones")
        return (real[number % len(real)] for number in range(PHOTOGRAPHS))
    print("photographs: made from a seed, as no real ones are beside the checkout")
    return (image(seed, (640, 480)) for seed in range(PHOTOGRAPHS))


def small_images() -> Iterator[bytes]:
    """Images of 32 x 32."""
    return (image(seed, (32, 32)) for seed in range(SMALL))


def images_of(file: Path) -> Iterator[bytes]:
    """The JPEGs of a tar."""
    with tarfile.open(file) as archive:
        for member in archive:
            if member.name.endswith(".jpg") and (content := archive.extractfile(member)) is not None:
                yield content.read()


def image(seed: int, size: tuple[int, int]) -> bytes:
    """A smooth JPEG of many colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(target, "JPEG", quality=95)
    return target.getvalue()


def write_tar(file: Path, images: Iterable[bytes]) -> int:
    """Write key.jpg and key.txt for every image; how many there are."""
    count = 0
    with tarfile.open(file, "w") as archive:
        for count, image in enumerate(images, start=1):
            for name, data in ((f"{count:06d}.jpg", image), (f"{count:06d}.txt", b"a dog on a bench")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return count


def ingest(client: httpx.Client, file: Path, name: str, count: int) -> float:
    """Seconds from the answer to the upload to the state `ingested`."""
    dataset = client.post("/v1/datasets", json={"name": name}).raise_for_status().json()["id"]
    with file.open("rb") as content:
        upload = f"/v1/datasets/{dataset}/uploads"
        client.put(
            f"{upload}/photos.tar", content=iter(lambda: content.read(1 << 20), b"")
        ).raise_for_status()
    started = time.perf_counter()
    while (state := client.get(upload).raise_for_status().json()["items"][0])["state"] != "ingested":
        if state["state"] == "failed" or time.perf_counter() - started > 600:
            raise RuntimeError(f"the tar was not ingested: {state}")
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    if state["accepted"] != count:
        raise RuntimeError(f"{state['accepted']} of {count} samples were accepted")
    client.delete(f"/v1/datasets/{dataset}").raise_for_status()
    return seconds


def read(file: Path) -> float:
    """Seconds of reading every member in stream mode."""
    started = time.perf_counter()
    with tarfile.open(file, "r|") as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            content.read()
    return time.perf_counter() - started


def decode(file: Path) -> float:
    """Seconds of decoding every image once, in one thread."""
    images = list(images_of(file))
    started = time.perf_counter()
    for image in images:
        Image.open(io.BytesIO(image)).load()
    return time.perf_counter() - started


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a platform over this folder, without an encoder, in a process of its own."""
    command = [sys.executable, "-m", "cocu", "serve", "--port", "0", "--data", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[2].rstrip(",")
        finally:
            process.terminate()
            process.stdout.read()


if __name__ == "__main__":
    main()
