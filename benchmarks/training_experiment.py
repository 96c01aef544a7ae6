"""Does curation help training? Five arms on generated scenes, the same but for where their texts come from.

Scenes are generated, uploaded to a platform of its own, and curated with the shipped encoder. Every arm
(caption, caption nouns, top-k, clusters, oracle) trains a GroupViT on batches of that curation with every
seed, for the same steps; a seed fixes first weights, order, crops and draws, so that arms are compared in
pairs. Zero-shot mIoU is measured against the masks of scenes of another seed, every so many steps.

    python -m benchmarks.training_experiment                        a processor core, about two hours
    python -m benchmarks.training_experiment --smoke                seconds: whether all of it works
    python -m benchmarks.training_experiment --scenes 100000 --steps 10000 --batch 1024 --model small \\
        --device cuda --precision bf16 --workers 12                 a GPU

What is done is kept in --folder: a run that was interrupted goes on from its last checkpoint, finished runs
are not repeated, and arms and seeds can be added.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from benchmarks.experiment_platform import curated, generate, serving
from benchmarks.experiment_results import (
    Results,
    all_paired,
    arms_table,
    at_step,
    differences_table,
    paired,
    plot,
)
from benchmarks.report import report

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch

    from benchmarks.experiment_runs import (
        Experiment,
        Size,
        attention,
        estimate,
        held_out_of,
        train_one,
    )

ARMS = ("caption", "caption_nouns", "topk", "cluster", "oracle")


def main(words: Sequence[str] | None = None) -> int:
    """Run what is to do, and print tables, the path of the plot, and the JSON line."""
    if not HAS_TORCH:
        print("torch is not installed here (it comes with cocu[training]): nothing is measured")
        return 0
    options = parsed(words)
    size: Size = options.size
    folder: Path = options.folder
    size.claim(folder)
    signal.signal(signal.SIGTERM, _as_interrupt)
    if options.threads:
        torch.set_num_threads(options.threads)
    generate(folder, trained=size.scenes, held_out=size.held_out)
    with serving(folder) as url, told_to_stop() as told:
        experiment = Experiment(
            size=size,
            arms=options.arms,
            seeds=range(options.seeds),
            folder=folder,
            server=url,
            curation=curated(url, folder, trained=size.scenes),
            device=torch.device(options.device),
            workers=options.workers,
        )
        with attention(experiment.device):
            finished = train_all(experiment, told)
        if not finished:
            print(f"stopped; the same command goes on, {len(experiment.todo)} runs are not finished")
            return 75
    conclude(folder, size, options.arms)
    return 0


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The options; `size` is made of them."""
    default = Size()
    parser = argparse.ArgumentParser(description="Train five arms on generated scenes, and compare them.")
    parser.add_argument("--smoke", action="store_true", help="everything, tiny")
    parser.add_argument("--scenes", type=int, help=f"to train on ({default.scenes:,})")
    parser.add_argument("--held-out", type=int, help=f"to evaluate on ({default.held_out})")
    parser.add_argument("--steps", type=int, help=f"of every run ({default.steps:,})")
    parser.add_argument("--batch", type=int, help=f"scenes of a step ({default.batch})")
    parser.add_argument("--learning-rate", type=float, help=f"at the peak ({default.learning_rate})")
    parser.add_argument("--every", type=int, help=f"steps between evaluations ({default.every})")
    parser.add_argument(
        "--model", choices=("tiny", "lean", "scenes", "small"), help="sizes of the GroupViT (lean)"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="(bf16)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every arm (3)")
    parser.add_argument("--arms", default=",".join(ARMS), help="comma-separated; all of them by default")
    parser.add_argument(
        "--folder", type=Path, default=Path(".cocu-experiment"), help="where all of it is kept"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode (1)")
    parser.add_argument("--threads", type=int, default=0, help="of the loop; as torch chooses by default")
    options = parser.parse_args(words)
    options.arms = tuple(options.arms.split(","))
    if unknown := set(options.arms) - set(ARMS):
        parser.error(f"no arm {', '.join(sorted(unknown))}; there are {', '.join(ARMS)}")
    start = Size.smoke() if options.smoke else default
    values = {name: getattr(options, name) for name in asdict(start)}
    options.size = replace(start, **{name: value for name, value in values.items() if value is not None})
    return options


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGTERM or SIGINT came: a run that was at its end says nothing of it."""
    receiving, sending = socket.socketpair()
    for end in (receiving, sending):
        end.setblocking(False)
    before = signal.set_wakeup_fd(sending.fileno())
    seen = bytearray()

    def told() -> bool:
        with suppress(BlockingIOError):
            seen.extend(receiving.recv(64))
        return bool({signal.SIGTERM, signal.SIGINT} & set(seen))

    try:
        yield told
    finally:
        signal.set_wakeup_fd(before)
        receiving.close()
        sending.close()


def train_all(experiment: Experiment, told: Callable[[], bool]) -> bool:
    """Train and evaluate what is to do; False where it was told to stop."""
    held_out = held_out_of(experiment)
    todo = experiment.todo
    if todo:
        estimate(experiment, held_out)
    for number, (arm, seed) in enumerate(todo, start=1):
        print(f"\n{arm}, seed {seed}: run {number} of {len(todo)} to do", flush=True)
        finished = train_one(experiment, arm, seed, held_out)
        if not finished or told():
            return False
        print(
            arms_table(at_step(experiment.results.lines(), experiment.size.steps), experiment.arms),
            flush=True,
        )
    return True


def conclude(folder: Path, size: Size, arms: Sequence[str]) -> None:
    """Print the tables, write them and the plot into the folder, and end with the JSON line."""
    lines = Results(folder / "results.jsonl").lines()
    results = at_step(lines, size.steps)
    tables = f"{arms_table(results, arms)}\n\n{differences_table(all_paired(results, arms))}\n"
    (folder / "table.md").write_text(tables, encoding="utf-8")
    title = f"{size.scenes:,} scenes, {size.steps:,} steps of {size.batch}, GroupViT {size.model}"
    plot(lines, arms, folder / "convergence.png", title=title)
    print(f"\n{title}; {size.held_out} held-out scenes\n\n{tables}\nplot: {folder / 'convergence.png'}\n")
    # What CoCu adds to what a caption says itself.
    difference = paired(results, "cluster", "caption_nouns") or paired(results, arms[-1], arms[0])
    assert difference is not None
    report(
        "training experiment",
        100 * difference.spread.mean,
        f"points of mIoU, {difference.arm} - {difference.other}, {len(difference.differences)} seeds",
        "> 0",
        difference.spread.mean > 0,
    )


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
