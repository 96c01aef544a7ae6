"""Replaces torchrun and `cocu-train` for the pages: records of a run, evaluations and previews at once.

`seed` of the configuration chooses the course: SPIKE has one step with a huge loss, FAILS ends with an error,
RUNS goes on until it is told to stop, REFUSES ends with an error before anything is recorded, BARE is never
evaluated.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

SPIKE, FAILS, RUNS, REFUSES, BARE = 1, 2, 3, 4, 5
SPIKE_STEP, SPIKE_LOSS = 777, 99.5
EVERY = 100
PAGE = 'report"; filename=x é.html'
"""A file that a browser must never show."""
HOSTILE = "<img src=x onerror=alert(1)> \u202egpj.exe"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    for name in ("--curation", "--output", "--configuration", "--evaluate"):
        parser.add_argument(name)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    configuration = json.loads(Path(options.configuration).read_text())
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    print("\x1b[32mtraining\x1b[0m <script>alert(2)</script>", flush=True)
    if configuration["seed"] == REFUSES:
        sys.exit("error: there is no table of texts <b>here</b>")
    file = output / "records.jsonl"
    kept = file.read_text() if options.resume and file.exists() else ""
    first = len(list(output.glob("checkpoints/*.pt"))) * int(str(configuration["steps"]))
    # Another file: that is how the service sees that the trainer has started.
    with file.with_suffix(".partial").open("w") as records:
        records.write(kept if first else "")
        records.flush()
        Path(records.name).replace(file)
        sys.exit(train(configuration, output, records, stopped, first=first))


def train(
    configuration: dict[str, object], output: Path, records: IO[str], stopped: list[int], *, first: int
) -> int:
    seed, steps = configuration["seed"], int(str(configuration["steps"]))

    def write(values: dict[str, object]) -> None:
        records.write(json.dumps(values) + "\n")

    write({"kind": "event", "step": first, "event": "started", "steps": steps})
    for step in range(first + 1, steps + 1):
        write({"kind": "step", "step": step, **figures(step, steps, seed)})
        if seed == FAILS and step == steps // 2:
            records.flush()
            raise ArithmeticError("the loss is not finite in step 60 <b>!</b>")
        if seed != BARE and (step % EVERY == 0 or step == steps):
            share = step / steps
            write(
                {"kind": "evaluation", "step": step, "mean_iou": 0.3 * share, "pixel_accuracy": 0.7 * share}
            )
    if seed != BARE:
        draw_previews(output / "evaluations" / "scenes" / "previews")
    (output / PAGE).write_text("<script>alert(3)</script>")
    records.flush()
    while seed == RUNS and not stopped:
        time.sleep(0.05)
    checkpoints = output / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    (checkpoints / f"step-{steps:09d}.pt").write_bytes(b"weights")
    write({"kind": "event", "step": steps, "event": "stopped" if stopped else "finished"})
    return 75 if stopped else 0


def figures(step: int, steps: int, seed: object) -> dict[str, float]:
    loss = 5.0 / math.sqrt(step) + 0.2 * math.sin(step / 7)
    return {
        "loss": SPIKE_LOSS if (seed, step) == (SPIKE, SPIKE_STEP) else loss,
        "caption_loss": loss * 0.6,
        "learning_rate": 1e-4 * (1 - step / (steps + 1)),
        "images_per_second": 1400.0 + 100 * math.cos(step / 11),
    }


def draw_previews(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("scene 1", "scene 2", HOSTILE.replace("/", "_"))):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 32, 3), dtype=np.uint8)
        sheet = Image.fromarray(pixels).resize((640, 160), Image.Resampling.NEAREST)
        sheet.save(folder / f"{name}.png".replace("\u202e", ""))


if __name__ == "__main__":
    main()
