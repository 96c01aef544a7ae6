"""Replaces torchrun and `cocu-train` in tests: the same command line, files and signals, without torch.

`seed` of the configuration chooses what goes wrong: CRASHES ends with an error in step 5 of the first start,
DEAF ignores SIGTERM, VANISHES is killed with its supervisor in step 6 of the first start, LOST the same in
every start before any step, BROKEN writes damaged lines.

A stand-in that finds another one running, of any run, writes the file DOUBLED.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

CRASHES, DEAF, VANISHES, LOST, BROKEN = 1, 2, 3, 4, 5
CHECKPOINT_INTERVAL = 4
DOUBLED = "doubled"
"""A file beside the folders of the runs: written when a trainer finds another one running."""
PAUSE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    for name in ("--curation", "--output", "--configuration", "--evaluate"):
        parser.add_argument(name)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    configuration = json.loads(Path(options.configuration).read_text())
    runs = Path(options.output).parents[1]
    alone = (runs / "alone").open("w")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        (runs / DOUBLED).touch()
    assert Path(configuration["tokenizer"]).is_file()
    sys.exit(train(configuration, Path(options.output), resume=options.resume))


def train(configuration: dict[str, object], output: Path, *, resume: bool) -> int:
    seed, steps = configuration["seed"], int(str(configuration["steps"]))
    stop_signals: list[int] = []
    signal.signal(signal.SIGTERM, signal.SIG_IGN if seed == DEAF else lambda *_: stop_signals.append(1))
    if seed == LOST:
        vanish()
    checkpoints = output / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    saved = sorted(checkpoints.glob("step-*.pt"))
    if saved and not resume:
        print("error: there are checkpoints already")
        return 1
    step = json.loads(saved[-1].read_text())["step"] if saved else 0
    first_start = not (output / "starts").exists()
    with (output / "starts").open("a") as starts:
        starts.write(f"{os.getpid()} {step}\n")
    variables = {name: value for name, value in os.environ.items() if name.startswith("COCU_")}
    (output / "environment.json").write_text(json.dumps(variables))
    records = Records(output / "records.jsonl", step)
    records.write({"kind": "event", "step": step, "event": "started", "steps": steps})
    print(f"training from step {step}", flush=True)
    while step < steps and not stop_signals:
        time.sleep(PAUSE)
        step += 1
        records.write({"kind": "step", "step": step, "loss": 1.0 / step, "at": time.time()})
        if seed == CRASHES and step == 5 and first_start:
            raise ArithmeticError("the loss is not finite: a stand-in's")
        if seed == VANISHES and step == 6 and first_start:
            vanish()
        if seed == BROKEN:
            records.broken()
        if step % CHECKPOINT_INTERVAL == 0:
            save(checkpoints, step, records)
    if step % CHECKPOINT_INTERVAL:
        save(checkpoints, step, records)
    records.write({"kind": "evaluation", "step": step, "mean_iou": step / 100})
    (output / "evaluation" / "previews").mkdir(parents=True, exist_ok=True)
    (output / "evaluation" / "previews" / "a picture.png").write_bytes(b"\x89PNG")
    records.write({"kind": "event", "step": step, "event": "finished" if step == steps else "stopped"})
    return 0 if step == steps else 75


def save(folder: Path, step: int, records: Records) -> None:
    file = folder / f"step-{step:09d}.pt"
    file.with_suffix(".partial").write_text(json.dumps({"step": step}))
    file.with_suffix(".partial").replace(file)
    records.write({"kind": "event", "step": step, "event": "checkpoint", "file": file.name})


def vanish() -> None:
    """End as after a power loss: no exit status is written."""
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


class Records:
    def __init__(self, file: Path, step: int) -> None:
        lines = file.read_text().splitlines() if file.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        partial = file.with_suffix(".partial")
        partial.write_text("".join(f"{line}\n" for line in kept))
        partial.replace(file)
        self._file = file.open("a")

    def write(self, values: dict[str, object]) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()

    def broken(self) -> None:
        self._file.write('{"kind": "step", "step": \n[1]\n\xff\n{"kind": 7, "step": NaN, "loss": Infinity}\n')
        self._file.flush()


if __name__ == "__main__":
    main()
