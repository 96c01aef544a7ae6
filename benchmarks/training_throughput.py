"""Training of the scenes' model with batches over HTTP, against the same loop on batches held in memory.

A platform in a process of its own serves 1,120 curated scenes; a worker process of the trainer receives,
decodes, augments and tokenises them; the loop itself has one thread. In memory means: as tensors, ready for
the model, so that all of that is saved. Both take turns, step for step on the same model; the first steps of
a turn are not counted, so that what was prepared during the other's turn is used up. The limit of both is the
arithmetic of the model.

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
from pathlib import Path

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
BATCH = 32
TURNS = 4
SETTLING, COUNTED = 8, 10
"""Steps of a turn that use up what is prepared, and that are measured."""
LEAST_RATIO = 0.95


def main() -> None:
    """Print images per second of both, and their ratio."""
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
    """Turns of both kinds, one after the other; the median of the ratios."""
    configuration = TrainingConfiguration.scenes().with_(
        global_batch=BATCH,
        tokenizer=str(EXAMPLES / "encoders" / "scenes" / "tokenizer.json"),
        workers=1,
        steps=100_000,
    )
    texts = Texts(configuration.tokenizer, configuration.context_length)
    device = torch.device("cpu")
    stream = Stream(configuration, server=url, curation=curation, api_key=None, texts=texts, device=device)
    trainer = Trainer(
        configuration, source=stream, text_tokens=texts.tokens, folder=folder / "run", device=device
    )
    held = list(stream.samples(0, start=0))
    from_memory, from_http = in_memory(held), over_http(stream)
    floating_point = operations(trainer, held[0])
    memory, http, waits = [], [], []
    for turn in range(TURNS + 1):
        speeds = [turn_of(trainer, source) for source in (from_memory, from_http)]
        if turn:
            memory.append(speeds[0][0])
            http.append(speeds[1][0])
            waits.append(speeds[1][1])
    ratio = statistics.median(one / other for one, other in zip(http, memory, strict=True))
    fastest, streamed, waited = (statistics.median(each) for each in (memory, http, waits))
    print(
        f"scenes, batches of {BATCH} at {configuration.concepts} concepts: over HTTP "
        f"{streamed:,.1f} images/s, from memory {fastest:,.1f}; {1000 * waited:.1f} ms waited per batch over "
        f"HTTP; from memory {floating_point * fastest / BATCH / 1e9:,.1f} GFLOP/s of the model on one thread"
    )
    print(
        f"load of the machine over the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    report("training throughput", ratio, "of the loop on batches in memory", ">= 0.95", ratio >= LEAST_RATIO)


def in_memory(held: list[Samples]) -> Iterator[Samples]:
    """The batches again and again."""
    while True:
        yield from held


def over_http(stream: Stream) -> Iterator[Samples]:
    """Epoch after epoch."""
    epoch = 1
    while True:
        yield from stream.samples(epoch, start=0)
        epoch += 1


def turn_of(trainer: Trainer, source: Iterator[Samples]) -> tuple[float, float]:
    """Images per second, and seconds waited per batch."""
    waited = started = 0.0
    for step in range(SETTLING + COUNTED):
        if step == SETTLING:
            waited, started = 0.0, time.perf_counter()
        asked = time.perf_counter()
        samples = next(source)
        waited += time.perf_counter() - asked
        losses, _ = trainer.train_step(samples)
        losses.total.item()
    return COUNTED * BATCH / (time.perf_counter() - started), waited / COUNTED


def operations(trainer: Trainer, samples: Samples) -> int:
    """Floating-point operations of a step."""
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(samples)
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
