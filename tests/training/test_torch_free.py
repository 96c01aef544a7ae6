"""What of training works, or says why not, without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cocu_training.loop.meter import Meter
from cocu_training.tokenizer_files import SCENES_TOKENIZER, keep_tokenizer, tokenizer_of

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; sys.argv = ['cocu-train', *sys.argv[1:]]; "


@pytest.mark.parametrize("arguments", [["--help"], [], ["run", "--curation", "c"], ["serve", "--help"]])
def test_without_torch__is_one_line_that_says_what_to_install(arguments: list[str]) -> None:
    program = WITHOUT_TORCH + "from cocu_training.command_line import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert 'cocu-train needs torch; in a checkout of the project: pip install ".[training]"' in ended.stderr


def test_the_tokenizer_of_presets__is_that_of_the_shipped_encoder(repository: Path) -> None:
    bundled = repository / "examples" / "encoders" / "scenes" / "tokenizer.json"
    assert SCENES_TOKENIZER.read_bytes() == bundled.read_bytes(), f"copy {bundled} to {SCENES_TOKENIZER}"


def test_a_run__keeps_its_tokenizer_and_can_be_moved(tmp_path: Path) -> None:
    named = tmp_path / "mine.json"
    named.write_text("{}")
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    checkpoint = folder / "checkpoints" / "step-10.pt"
    # A run of an earlier version has no copy.
    assert tokenizer_of(checkpoint, str(named)) == named
    for _ in range(2):
        keep_tokenizer(named, folder)
    keep_tokenizer(folder / "tokenizer.json", folder)
    named.unlink()
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    assert tokenizer_of(moved / "checkpoints" / checkpoint.name, str(named)).read_text() == "{}"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def speeds(*, log: int, save: int, evaluate: int, steps: int = 40, batch: int = 32) -> list[float]:
    """Images per second, as the loop measures them, of steps that take a second each."""
    clock = Clock()
    meter = Meter(batch, clock=clock)
    pending: tuple[int, float] | None = None
    recorded: list[float] = []

    def take() -> None:
        nonlocal pending
        if pending is not None:
            step, at = pending
            pending = None
            meter.add(0.25, started=at)
            if step % log == 0:
                recorded.append(meter.read()["images_per_second"])

    for step in range(1, steps + 1):
        clock.seconds += 1
        before, pending = pending, (step, meter.now())
        if before is not None:
            now, pending = pending, before
            take()
            pending = now
        if step % save == 0:
            take()
        with meter.leaving_out():
            clock.seconds += 100 if step % save == 0 else 0
            clock.seconds += 1000 if step % evaluate == 0 else 0
    return recorded


@pytest.mark.parametrize("log", [1, 2, 5])
@pytest.mark.parametrize("save", [1, 3, 10])
@pytest.mark.parametrize("evaluate", [4, 1000])
def test_images_per_second__are_the_same_at_checkpoints_and_after_evaluations(
    log: int, save: int, evaluate: int
) -> None:
    measured = speeds(log=log, save=save, evaluate=evaluate)
    assert measured == pytest.approx([32.0] * len(measured))
    assert len(measured) >= 40 // log - 1
