"""Training of the published GroupViT (ViT-S, 55.7 million parameters) on a GPU, at a batch of 1,024.

In three forms: as it is, with activations recomputed in the backward pass (activation checkpointing), and
compiled. For each: images per second, model FLOPs utilisation, and the peak of the device's memory. The
utilisation is the model's own operations (what is computed again is not counted) per second, over what the
device does in a large product of bf16 matrices, measured beside it. Samples lie on the device, so that no
input is measured: `training_throughput` measures that.

First, whether the device computes what a processor does: losses and gradient of a small model in float32.

python -m benchmarks.training_gpu
"""

from __future__ import annotations

import gc
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.report import report

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cocu_training.configuration import TrainingConfiguration
    from cocu_training.data.stream import Samples
    from cocu_training.loop.trainer import Trainer

BATCH = 1024
TOKENS, CONCEPTS = 49_408, 1_000
WARM_UP, ROUNDS, STEPS = 5, 5, 4
SIDE = 8_192
"""Of the matrices whose product is the device's rate."""
TOLERANCE = 1e-3
"""Between losses of a processor and of a device, which add up in another order."""


class Form(NamedTuple):
    """Seconds of a step, and bytes at the peak."""

    seconds: float
    peak: int


class Held:
    """One batch, drawn at random, as often as asked for."""

    batches_per_epoch = 1_000

    def __init__(self, configuration: TrainingConfiguration, device: torch.device) -> None:
        model = configuration.model_configuration(text_tokens=TOKENS)
        generator = torch.Generator().manual_seed(0)
        batch, texts = configuration.global_batch, configuration.concepts
        pixels = torch.randint(
            0, 256, (batch, 3, model.image_size, model.image_size), generator=generator, dtype=torch.uint8
        )
        tokens = torch.randint(1, TOKENS - 1, (batch, 1 + texts, model.context_length), generator=generator)
        # The end of a text is its highest id.
        tokens[..., -1] = TOKENS - 1
        ids = torch.randint(0, CONCEPTS, (batch, texts), generator=generator)
        self.sample = Samples(0, pixels.to(device), tokens.to(device), ids.to(device))

    def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
        """The batch again and again."""
        for _ in range(start, self.batches_per_epoch):
            yield self.sample


def main() -> None:
    """Print a line for each form, and the JSON lines."""
    if not HAS_TORCH:
        print("torch is not installed here (it comes with cocu[training]): nothing is measured")
        return
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    difference = differing(device)
    report(
        "training gpu, loss and gradient against a processor",
        difference,
        "relative difference",
        f"<= {TOLERANCE}",
        difference <= TOLERANCE,
    )
    torch.set_float32_matmul_precision("high")
    measure(device)


def differing(device: torch.device) -> float:
    """The largest relative difference of a small model's loss and norm of the gradient."""
    configuration = TrainingConfiguration.scenes().with_(
        global_batch=32, precision="fp32", average_decay=None
    )
    sample = Held(configuration, torch.device("cpu")).sample
    losses_of_devices = []
    for target in (torch.device("cpu"), device):
        with tempfile.TemporaryDirectory() as name:
            trainer = trainer_of(configuration, target, Path(name))
        losses, norm = trainer.train_step(Samples(0, *(tensor.to(target) for tensor in sample[1:])))
        losses_of_devices.append((losses.total.item(), norm.item()))
    return max(abs(value - other) / abs(value) for value, other in zip(*losses_of_devices, strict=True))


def measure(device: torch.device) -> None:
    """The three forms."""
    small = TrainingConfiguration.small().with_(global_batch=BATCH)
    rate = product_rate(device)
    operations = operations_of(small, device)
    print(
        f"a step at a batch of {BATCH:,}: {operations / 1e12:.1f} TFLOP; a product of bf16 matrices of "
        f"{SIDE:,}: {rate / 1e12:.0f} TFLOP/s"
    )
    changes = {"plain": {}, "recomputing": {"recompute": True}, "compiled": {"compile": True}}
    forms: dict[str, Form | None] = {}
    for name, change in changes.items():
        form = forms[name] = form_of(small.with_(**change), device)
        if form is None:
            print(f"{name:12} a batch of {BATCH:,} does not fit into the device's memory", flush=True)
            continue
        print(
            f"{name:12} {BATCH / form.seconds:8,.0f} images/s, {operations / form.seconds / rate:.1%} of "
            f"that rate, {form.peak / 2**30:.1f} GiB at the peak",
            flush=True,
        )
    report_forms(forms, operations / rate)


def report_forms(forms: dict[str, Form | None], least_seconds: float) -> None:
    """The JSON lines; least_seconds: of a step at the rate of a product."""
    plain, recomputing = forms["plain"], forms["recomputing"]
    if recomputing is not None and plain is not None:
        ratio = recomputing.peak / plain.peak
        report("training gpu, memory recomputing", ratio, "of keeping activations", "< 1", ratio < 1)
    measured = [form for form in forms.values() if form is not None]
    if not measured:
        report("training gpu", 0.0, f"images/s at a batch of {BATCH:,}", "> 0", holds=False)
        return
    seconds = min(form.seconds for form in measured)
    report(
        "training gpu, images/s", BATCH / seconds, "images/s of the fastest form", "none is set", holds=True
    )
    report(
        "training gpu",
        least_seconds / seconds,
        "model FLOPs utilisation of the fastest form",
        "none is set",
        holds=True,
    )


def form_of(configuration: TrainingConfiguration, device: torch.device) -> Form | None:
    """Steps of a configuration; None where they do not fit."""
    # What was measured before has cycles.
    gc.collect()
    torch.cuda.empty_cache()
    try:
        return steps_of(configuration, device)
    except torch.cuda.OutOfMemoryError:
        return None


def steps_of(configuration: TrainingConfiguration, device: torch.device) -> Form:
    """The median of rounds of steps, and the peak of memory that a step takes."""
    with tempfile.TemporaryDirectory() as name:
        trainer = trainer_of(configuration, device, Path(name))
    sample = Held(configuration, device).sample

    def steps(count: int) -> None:
        for _ in range(count):
            trainer.train_step(sample)

    steps(WARM_UP)
    torch.cuda.reset_peak_memory_stats(device)
    seconds = statistics.median(timed(lambda: steps(STEPS)) / STEPS for _ in range(ROUNDS))
    return Form(seconds, torch.cuda.max_memory_allocated(device))


def trainer_of(configuration: TrainingConfiguration, device: torch.device, folder: Path) -> Trainer:
    """The loop on a source that is not asked."""
    source = Held(configuration.with_(global_batch=2), device)
    return Trainer(configuration, source=source, text_tokens=TOKENS, folder=folder, device=device)


def operations_of(configuration: TrainingConfiguration, device: torch.device) -> int:
    """Floating-point operations of a step, counted at a batch that fits anywhere.

    Proportional to the batch but for the products of losses, which are a thousandth at most.
    """
    counted = configuration.with_(global_batch=64)
    with tempfile.TemporaryDirectory() as name:
        trainer = trainer_of(counted, device, Path(name))
    sample = Held(counted, device).sample
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(sample)
    return int(counter.get_total_flops()) * configuration.global_batch // counted.global_batch


def product_rate(device: torch.device) -> float:
    """Operations a second of a large product of bf16 matrices; the median of several."""
    left, right = (torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    repeats = 20
    seconds = statistics.median(timed(lambda: [left @ right for _ in range(repeats)]) for _ in range(5))
    return 2 * SIDE**3 * repeats / seconds


def timed(run: Callable[[], object]) -> float:
    """Seconds until the device is through with it."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
