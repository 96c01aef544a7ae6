"""Thumbnails that are stored against thumbnails that are made at every request.

The samples are the photographs beside the checkout, or generated pictures of the same size. Measured is what
the API does for a thumbnail of 256 pixels but HTTP, in processor time: look the sample up, and read the
stored thumbnail; or look it up, read the image, decode and reduce it, as every request did before.

Beside it, a page of the dashboard: 200 thumbnails through six connections, as a browser has them, from a
platform in a process of its own: the first time, when they are made and stored, and afterwards.
"""

from __future__ import annotations

import statistics
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.archive_lookup import serving
from benchmarks.report import report
from cocu.api.queries import Samples, Thumbnails
from cocu.client import CocuClient
from cocu.formats import images
from cocu.platform import Platform
from cocu.schemas import ThumbnailSize
from cocu.settings import Settings

PHOTOGRAPHS = Path(__file__).parent.parent.parent / "shared" / "datasets" / "coco-photos"
PICTURES = 200
CONNECTIONS = 6
SIZE: ThumbnailSize = 256
REPEATS = 5
BOUND = 3.0


def main() -> None:
    """Print the seconds of both ways, and the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "pictures.tar"
        file.write_bytes(tar_of(pictures()))
        with serving(folder / "data") as url, CocuClient(url) as client:
            dataset = client.datasets.create("pictures")
            client.datasets.upload(dataset.id, file)
            client.datasets.wait(dataset.id)
            keys = [sample.key for sample in client.datasets.samples(dataset.id, limit=PICTURES)]
            links = [f"{url}/v1/datasets/{dataset.id}/samples/{key}/image?size={SIZE}" for key in keys]
            first, *later = (page_seconds(links) for _ in range(1 + REPEATS))
        made, stored = processor_seconds(folder / "data", dataset.id, keys)
    print(
        f"{len(keys)} thumbnails through {CONNECTIONS} connections: {first:.2f} s the first time, when they"
    )
    print(f"are made and stored, then {statistics.median(later):.2f} s (median of {REPEATS})")
    milliseconds = [1000 * seconds / len(keys) for seconds in (made, stored)]
    print(f"processor time of one: {milliseconds[0]:.2f} ms made, {milliseconds[1]:.2f} ms stored")
    report("thumbnails: made / stored", made / stored, "x", f">= {BOUND:g}", made / stored >= BOUND)


def pictures() -> list[bytes]:
    """JPEG images: of the photographs, or generated ones."""
    data: list[bytes] = []
    for path in sorted(PHOTOGRAPHS.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                opened = archive.extractfile(member) if member.name.endswith(".jpg") else None
                if opened is not None:
                    data.append(opened.read())
    return data[:PICTURES] or [generated(seed) for seed in range(PICTURES)]


def generated(seed: int) -> bytes:
    """A JPEG image of 640 × 480 with something at every scale."""
    generator = np.random.default_rng(seed)
    pixels_HWC = np.zeros((480, 640, 3))
    for scale in (4, 16, 64):
        coarse = generator.uniform(0, 85, (480 // scale + 1, 640 // scale + 1, 3))
        pixels_HWC += coarse.repeat(scale, axis=0).repeat(scale, axis=1)[:480, :640]
    target = BytesIO()
    Image.fromarray(pixels_HWC.astype(np.uint8)).save(target, "JPEG", quality=90)
    return target.getvalue()


def tar_of(contents: list[bytes]) -> bytes:
    """A tar of these images, each with a caption."""
    target = BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for number, content in enumerate(contents):
            for suffix, data in (("jpg", content), ("txt", b"a picture")):
                member = tarfile.TarInfo(f"{number:06d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, BytesIO(data))
    return target.getvalue()


def page_seconds(links: list[str]) -> float:
    """Seconds until all links are fetched."""
    limits = httpx.Limits(max_connections=CONNECTIONS)
    with httpx.Client(limits=limits, timeout=60) as http, ThreadPoolExecutor(CONNECTIONS) as pool:
        started = time.perf_counter()
        for answer in pool.map(http.get, links):
            answer.raise_for_status()
        return time.perf_counter() - started


def processor_seconds(data: Path, dataset: str, keys: list[str]) -> tuple[float, float]:
    """Processor seconds for all keys, medians: made at every request, stored."""
    with Platform.open(Settings(data_folder=data)) as platform:
        samples = Samples(platform)
        thumbnails = Thumbnails(platform, samples)

        def make(key: str) -> None:
            image = samples.image(tenant="default", dataset=dataset, key=key)
            images.thumbnail(samples.bytes_of(image), side=SIZE, pixels=platform.pixels)

        def read(key: str) -> None:
            image = samples.image(tenant="default", dataset=dataset, key=key)
            thumbnails.read(tenant="default", image=image, size=SIZE)

        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(REPEATS):
            for is_stored, run in ((False, make), (True, read)):
                started = time.process_time()
                for key in keys:
                    run(key)
                seconds[is_stored].append(time.process_time() - started)
    return statistics.median(seconds[False]), statistics.median(seconds[True])


if __name__ == "__main__":
    main()
