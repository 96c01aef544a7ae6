"""Training with batches over HTTP, against the same loop on batches held in memory.

Held in memory means: as tensors of pixels and tokens, already received, decoded, augmented and tokenised, so
that the loop on them does arithmetic only. Over HTTP, a platform in a process of its own serves the shipped
scenes (curated), and one worker process of the trainer does all of that, while the loop computes on one
thread. The limit of both is the arithmetic of the model.

They take turns, step for step on the same model, and are compared by the clock on the wall. The processor
time of the loop alone is printed beside it: where that is the same, and the clock says otherwise, processors
were busy with something else. A turn over HTTP is an epoch of its own: nothing was prepared for it
beforehand, and its first batches, where the worker begins, are not counted.

python -m benchmarks.training_throughput
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from benchmarks.report import report
from cocu.client import CocuClient

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cocu_training.configuration import TrainingConfiguration
    from cocu_training.data.stream import Samples, Stream
    from cocu_training.data.texts import Texts
    from cocu_training.loop.trainer import Trainer

EXAMPLES = Path(__file__).parent.parent / "examples"
MODEL = "lean"
BATCH = 64
ROUNDS = 5
SETTLING, COUNTED = 4, 12
"""Steps of a turn that begin it, and that are measured: together no more than the batches of an epoch."""
LEAST_RATIO = 0.95


class Turn(NamedTuple):
    """Images per second, seconds waited for each batch, images per second of the loop's processor time."""

    speed: float
    waited: float
    processor_speed: float


def main() -> None:
    """Print images per second of both, what they are worth, and their ratio."""
    if not HAS_TORCH:
        print("torch is not installed here (it comes with cocu[training]): nothing is measured")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as url:
        measure(url, curate(url), Path(name))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A platform with the scenes' encoder in a process of its own; its URL."""
    command = [sys.executable, "-m", "cocu", "serve", "--port", "0", "--data", str(folder / "data")]
    command += ["--encoder", str(EXAMPLES / "encoders" / "scenes")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(
                word.rstrip(",") for word in process.stdout.readline().split() if word.startswith("http")
            )
        finally:
            process.terminate()


def curate(url: str) -> str:
    """A completed curation of the shipped scenes."""
    with CocuClient(url, timeout=600) as client:
        dataset = client.datasets.create("scenes")
        for shard in sorted((EXAMPLES / "scenes").glob("*.tar")):
            client.datasets.upload(dataset.id, shard)
        client.datasets.wait(dataset.id, timeout=600)
        return client.curations.wait(client.curations.create(dataset.id).id, timeout=600).id


def measure(url: str, curation: str, folder: Path) -> None:
    """Rounds of a turn of each; the median of their ratios."""
    configuration = TrainingConfiguration.scenes().with_(
        model=MODEL,
        global_batch=BATCH,
        tokenizer=str(EXAMPLES / "encoders" / "scenes" / "tokenizer.json"),
        workers=1,
        steps=100_000,
    )
    texts = Texts(configuration.tokenizer, configuration.context_length)
    device = torch.device("cpu")
    with Stream(
        configuration, server=url, curation=curation, api_key=None, texts=texts, device=device
    ) as stream:
        trainer = Trainer(
            configuration, source=stream, text_tokens=texts.tokens, folder=folder / "run", device=device
        )
        samples, alone = all_of(stream)
        describe(trainer, samples[0], alone)
        rounds = [one_round(trainer, stream, samples, epoch) for epoch in range(1, ROUNDS + 1)]
    print_rounds(rounds, operations(trainer, samples[0]))
    ratio = statistics.median(http.speed / memory.speed for memory, http in rounds)
    report("training throughput", ratio, "of the loop on batches in memory", ">= 0.95", ratio >= LEAST_RATIO)


def all_of(stream: Stream) -> tuple[list[Samples], float]:
    """The batches of an epoch, and how many images a second come where nothing else is done."""
    samples = stream.samples(0, start=0)
    received = [next(samples)]
    started = time.perf_counter()
    received += samples
    return received, (len(received) - 1) * BATCH / (time.perf_counter() - started)


def one_round(trainer: Trainer, stream: Stream, samples: list[Samples], epoch: int) -> tuple[Turn, Turn]:
    """From memory, then over HTTP."""
    memory = turn(trainer, cycle(samples))
    return memory, turn(trainer, stream.samples(epoch, start=0))


def turn(trainer: Trainer, source: Iterator[Samples]) -> Turn:
    """Steps on a source."""
    waited = started = processor = 0.0
    for step in range(SETTLING + COUNTED):
        if step == SETTLING:
            waited, started, processor = 0.0, time.perf_counter(), time.process_time()
        requested = time.perf_counter()
        samples = next(source)
        waited += time.perf_counter() - requested
        losses, _ = trainer.train_step(samples)
        losses.total.item()
    processor, elapsed = time.process_time() - processor, time.perf_counter() - started
    return Turn(COUNTED * BATCH / elapsed, waited / COUNTED, COUNTED * BATCH / processor)


def describe(trainer: Trainer, samples: Samples, alone: float) -> None:
    """Say what is compared, and on what."""
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    _, texts, tokens = samples.tokens_BJT.shape
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"GroupViT {MODEL!r}, {parameters:,} parameters in {trainer.configuration.precision}, images of "
        f"{samples.pixels_B3HW.shape[-1]} px, augmentation {trainer.configuration.augmentation!r}, batches "
        f"of {BATCH} with {texts} texts of {tokens} tokens each"
    )
    print(
        f"{cores} processor cores, shared by the model (one thread), one process that decodes, and the "
        f"platform; load over the last minute {os.getloadavg()[0]:.1f}"
    )
    print(f"the stream with nothing beside it: {alone:,.0f} images/s, received, decoded and tokenised")


def print_rounds(rounds: list[tuple[Turn, Turn]], floating_point: int) -> None:
    """A line for each, and one of medians."""
    for number, (memory, http) in enumerate(rounds, start=1):
        print(
            f"round {number}: from memory {memory.speed:6.1f} images/s, over HTTP {http.speed:6.1f}: "
            f"{http.speed / memory.speed:.3f} (by the loop's processor time "
            f"{http.processor_speed / memory.processor_speed:.3f}), "
            f"{1000 * http.waited:.1f} ms waited per batch"
        )
    memory_speed, http_speed, waited, waited_memory = (
        statistics.median(values)
        for values in (
            [memory.speed for memory, _ in rounds],
            [http.speed for _, http in rounds],
            [http.waited for _, http in rounds],
            [memory.waited for memory, _ in rounds],
        )
    )
    print(
        f"medians: from memory {memory_speed:.1f} images/s (a step {1000 * BATCH / memory_speed:,.0f} ms, "
        f"{floating_point * memory_speed / BATCH / 1e9:,.1f} GFLOP/s), over HTTP {http_speed:.1f}; waited "
        f"per batch {1000 * waited:.1f} ms over HTTP, {1000 * waited_memory:.3f} ms from memory"
    )


def operations(trainer: Trainer, samples: Samples) -> int:
    """Floating-point operations of a step."""
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(samples)
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
