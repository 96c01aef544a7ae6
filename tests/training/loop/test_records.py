"""Records: lines of JSON, cut back to where a run goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cocu_training.loop.records import RECORDS, TENSORBOARD, Records, read_lines

VALUES = {"loss": 2.0, "images_per_second": 10.0, "wait_seconds": 0.5}


def test_a_run_that_goes_on_cuts_off_what_was_written_after_its_checkpoint(tmp_path: Path) -> None:
    with Records(tmp_path, step=0, steps=9, console=Console(file=io.StringIO())) as records:
        for step in range(1, 6):
            records.step(step, {**VALUES, "loss": float(step)})
    with (tmp_path / RECORDS).open("a") as file:
        file.write('{"kind": "step", "st')
    with Records(tmp_path, step=3, steps=9, console=Console(file=io.StringIO())) as records:
        records.step(4, {**VALUES, "loss": 40.0})
        records.evaluation(4, {"mean intersection over union": 0.25})
    lines = read_lines(tmp_path / RECORDS)
    assert [(line["step"], line.get("loss")) for line in lines] == [
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
        (4, 40.0),
        (4, None),
    ]
    assert lines[-1]["mean intersection over union"] == 0.25


def test_tensorboard_has_the_same(tmp_path: Path) -> None:
    with Records(tmp_path, step=0, steps=9, console=Console(file=io.StringIO())) as records:
        records.step(1, VALUES)
        records.step(2, {**VALUES, "loss": 1.5})
    board = EventAccumulator(str(tmp_path / TENSORBOARD)).Reload()
    assert [(scalar.step, scalar.value) for scalar in board.Scalars("training/loss")] == [(1, 2.0), (2, 1.5)]


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    with Records(tmp_path, step=0, steps=9, console=console) as records:
        records.advance(4)
        records.step(4, VALUES)
    assert "4/9" in shown.getvalue()
    assert "loss 2.0000" in shown.getvalue()
