"""The records of a run: a line of JSON per interval, TensorBoard, and a progress bar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

RECORDS = "records.jsonl"
TENSORBOARD = "tensorboard"

Values = Mapping[str, float]


class Records:
    """Writes the records of a run; first removes those after `step`, which a killed run wrote.

    records.jsonl has a line for every record: {"kind": "step" | "evaluation" | "event", "step": …}. An
    incomplete last line is removed.
    """

    def __init__(self, folder: Path, *, step: int, steps: int, console: Console | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._console = console or Console(stderr=True)
        file = folder / RECORDS
        kept = [line for line in read_lines(file) if line["step"] <= step]
        partial = file.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(file)
        self._file = file.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / TENSORBOARD), purge_step=step)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=steps, completed=step, shown="")

    def __enter__(self) -> Records:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._file.close()
        self._board.close()

    def advance(self, step: int) -> None:
        """Show that `step` steps are done."""
        self._progress.update(self._task, completed=step)

    def step(self, step: int, values: Values) -> None:
        """Record the metrics of a step."""
        self._write({"kind": "step", "step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(f"training/{name}", value, step)
        shown = f"loss {values['loss']:.4f} · {values['images_per_second']:.0f} images/s"
        self._progress.update(self._task, shown=shown)
        if not self._console.is_terminal:
            self._console.print(
                f"step {step:,} · {shown} · {values['wait_seconds']:.3f} s waited", highlight=False
            )

    def evaluation(self, step: int, values: Values) -> None:
        """Record the result of an evaluation after `step` steps."""
        self._write({"kind": "evaluation", "step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(f"evaluation/{name}", value, step)
        self._console.print(
            f"step {step:,} · " + " · ".join(f"{name} {value:.4g}" for name, value in values.items())
        )

    def event(self, step: int, name: str, **values: Any) -> None:
        """Record an event: started, checkpoint, stopped, finished, failed."""
        self._write({"kind": "event", "step": step, "event": name, **values})
        if name != "checkpoint":
            self._console.print(f"step {step:,} · {name}", highlight=False)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class NoRecords:
    """The records of all ranks but the first: none."""

    def __enter__(self) -> NoRecords:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def advance(self, step: int) -> None:
        """Do nothing."""

    def step(self, step: int, values: Values) -> None:
        """Do nothing."""

    def evaluation(self, step: int, values: Values) -> None:
        """Do nothing."""

    def event(self, step: int, name: str, **values: Any) -> None:
        """Do nothing."""


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the records in a file, without an incomplete last line; none if there is no file."""
    if not file.exists():
        return []
    whole, _, _ = file.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
