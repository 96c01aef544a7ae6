"""Embedding through Triton against the same ONNX session in this process: batches of 64, four in flight.

python -m benchmarks.triton

Both have the same number of threads for one inference; client and server share the machine's cores, so all
that the way over gRPC costs is taken from the inference. The limit is the inference itself: a ratio of 1.
Beside the wall-clock ratio stands the ratio of processor time per image (in process to client and server
together), which does not depend on what else the machine does.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tests.servers.triton_server import SERVER, triton_server
from tritonclient.grpc import InferenceServerClient

from benchmarks.photo_encoder import photo_encoder
from benchmarks.report import report
from benchmarks.scenes_encoder import BUNDLE
from cocu.encoders import Bundle, Encoder, InProcessEncoder
from cocu.encoders.registry import EncoderRegistry
from cocu.encoders.triton import InferenceServer
from cocu.encoders.triton.configuration import ModelOptions
from cocu.encoders.triton.repository import publish
from cocu.errors import InvalidBundleError

BATCH = 64
IN_FLIGHT = 4
ROUNDS = 5
SECONDS_PER_RUN = 2.0
BOUND = 0.9


class Rate(NamedTuple):
    """Images per second of wall-clock time, and per second of processor time of all processes."""

    wall: float
    processor: float


def measure(encoder: Encoder, pixels_NHWC: NDArray[np.uint8], server_seconds: Callable[[], float]) -> Rate:
    """One run over all images."""
    processor, began = time.process_time() + server_seconds(), time.perf_counter()
    encoder.embed_images(pixels_NHWC)
    wall = time.perf_counter() - began
    return Rate(
        wall=len(pixels_NHWC) / wall,
        processor=len(pixels_NHWC) / (time.process_time() + server_seconds() - processor),
    )


def interleaved(runs: dict[str, Callable[[], Rate]]) -> dict[str, list[Rate]]:
    """Each run ROUNDS times, in turn: what else the machine does meets all of them."""
    rates: dict[str, list[Rate]] = {name: [] for name in runs}
    for number in range(ROUNDS):
        order = list(runs) if number % 2 == 0 else list(reversed(runs))
        for name in order:
            rates[name].append(runs[name]())
    return rates


def processor_seconds(group: int) -> float:
    """What the processes of a group have used."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def server_steps(url: str, model: str) -> dict[str, float]:
    """What the server says it has spent per request since it started, by step."""
    client = InferenceServerClient(url.removeprefix("grpc://"))
    (said,) = client.get_inference_statistics(model).model_stats
    client.close()
    steps = said.inference_stats
    return {
        name: getattr(steps, name).ns / 1e9 / max(1, getattr(steps, name).count)
        for name in ("queue", "compute_input", "compute_infer", "compute_output")
    }


def compare(bundle: Bundle, folder: Path, threads: int) -> float:
    """The ratio of images per second, through Triton to in process, medians of interleaved runs."""
    repository = folder / f"models-{bundle.name}"
    publish(bundle, repository, options=ModelOptions(backend="python", threads=threads))
    in_process = InProcessEncoder(bundle, threads=threads)
    size = bundle.image.size
    with triton_server(repository, folder) as server:
        encoders = EncoderRegistry(InferenceServer(server.url, in_flight=IN_FLIGHT))
        on_server = encoders.get(bundle.hash)
        some_NHWC = np.random.default_rng(0).integers(0, 256, (4 * BATCH, size, size, 3), dtype=np.uint8)
        assert np.array_equal(in_process.embed_images(some_NHWC), on_server.embed_images(some_NHWC))
        trial = measure(in_process, some_NHWC, lambda: 0.0)
        batches = max(8, round(SECONDS_PER_RUN * trial.wall / BATCH))
        pixels_NHWC = np.resize(some_NHWC, (batches * BATCH, size, size, 3))
        rates = interleaved(
            {
                "in process": lambda: measure(in_process, pixels_NHWC, lambda: 0.0),
                "Triton": lambda: measure(on_server, pixels_NHWC, lambda: processor_seconds(server.group)),
            }
        )
        steps = server_steps(server.url, f"{bundle.name}_image")
        encoders.close()
    direct, through = rates["in process"], rates["Triton"]
    ratios = [run.wall / other.wall for run, other in zip(through, direct, strict=True)]
    processor = statistics.median(run.processor for run in through) / statistics.median(
        run.processor for run in direct
    )
    print(
        f"{bundle.name}: {size} x {size}, {batches} batches of {BATCH}, {threads} threads; images/s "
        f"in process {statistics.median(run.wall for run in direct):.0f}, "
        f"through Triton {statistics.median(run.wall for run in through):.0f}; equal to the bit"
    )
    print("  ratio per round: " + " ".join(f"{ratio:.2f}" for ratio in ratios))
    print(f"  ratio of images per second of processor time: {processor:.3f}")
    print(
        "  server, ms a request: " + ", ".join(f"{name} {1e3 * value:.1f}" for name, value in steps.items())
    )
    return statistics.median(ratios)


def main() -> None:
    """The shipped encoder, and the one for photographs where it lies beside the checkout."""
    if not (SERVER / "bin" / "tritonserver").is_file():
        raise SystemExit("Triton's server is not installed; make .venv-triton/.installed installs it")
    threads = len(os.sched_getaffinity(0))
    print(f"{threads} cores for client and server together; load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            photo = Bundle.load(photo_encoder(folder))
        except InvalidBundleError as error:
            print(f"without the encoder for photographs: {error}")
        else:
            ratio = compare(photo, folder, threads)
            report("triton_photo_encoder", ratio, "x in process", f">= {BOUND}", holds=ratio >= BOUND)
        ratio = compare(Bundle.load(BUNDLE), folder, threads)
    report("triton_scenes_encoder", ratio, "x in process", f">= {BOUND}", holds=ratio >= BOUND)


if __name__ == "__main__":
    main()
