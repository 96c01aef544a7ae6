"""How records of a trainer become events: each once, whatever is cut off and written anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from cocu_training.service.folder import MOST_AT_ONCE, START, RunFolder, Tail


def write(file: Path, steps: Sequence[int], *, rest: str = "") -> None:
    """As the trainer does when it starts: another file in the place of the one that was there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"kind": "step", "step": step}) + "\n" for step in steps]
    file.with_suffix(".partial").write_text("".join(lines) + rest)
    file.with_suffix(".partial").replace(file)


def steps(lines: Sequence[tuple[str, Mapping[str, Any]]]) -> list[int]:
    return [values["step"] for _, values in lines]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_tail__reads_whole_lines_as_they_come(folder: RunFolder) -> None:
    tail = Tail(folder.records, lines=0, file_before=None)
    assert tail.read() == []
    write(folder.records, [1, 2], rest='{"kind": "st')
    assert steps(tail.read()) == [1, 2]
    assert tail.read() == []
    with folder.records.open("a") as file:
        file.write('ep", "step": 3}\n')
    assert steps(tail.read()) == [3]


def test_tail__goes_on_after_lines_that_were_taken(folder: RunFolder) -> None:
    write(folder.records, range(5))
    assert steps(Tail(folder.records, lines=3, file_before=None).read()) == [3, 4]


def test_tail__comes_to_the_end_of_many_lines(folder: RunFolder) -> None:
    write(folder.records, range(2 * MOST_AT_ONCE + 1))
    tail = Tail(folder.records, lines=0, file_before=None)
    read = [tail.read() for _ in range(4)]
    assert [len(lines) for lines in read] == [MOST_AT_ONCE, MOST_AT_ONCE, 1, 0]
    assert [step for lines in read for step in steps(lines)] == list(range(2 * MOST_AT_ONCE + 1))


def test_start__keeps_records_up_to_the_checkpoint_and_takes_the_rest_anew(folder: RunFolder) -> None:
    write(folder.records, range(1, 8))
    (folder.output / "checkpoints").mkdir()
    for name in ("step-000000002.pt", "step-000000004.pt", "step-000000009.partial", "other.pt"):
        (folder.output / "checkpoints" / name).touch()
    lines, file_before = folder.before_start()
    assert lines == 4
    tail = Tail(folder.records, lines=lines, file_before=file_before)
    # The trainer has not replaced the file: what is after its checkpoint was taken before.
    assert tail.read() == []
    write(folder.records, [1, 2, 3, 4, 5])
    assert steps(tail.read()) == [5]


def test_start__without_a_checkpoint_takes_everything_anew(folder: RunFolder) -> None:
    assert folder.before_start() == (0, None)
    write(folder.records, [1, 2])
    lines, file_before = folder.before_start()
    assert (lines, file_before) == (0, folder.records.stat().st_ino)


def test_log_end__is_of_the_last_start_without_the_launchers_report(folder: RunFolder) -> None:
    assert folder.log_end() == ""
    report = (
        "E1122 1 site-packages/torch/distributed/elastic/x/api.py:1] failed (exitcode: -9) local_rank: 3 (pid"
    )
    folder.log.write_text(
        f"{START}\nolder\n{START}\n\x1b[31mout of memory\x1b[0m\n\n{report}: 7)\nTraceback\n" + "frame\n" * 30
    )
    assert folder.log_end() == "out of memory\nrank 3 ended with exit status -9"
    folder.log.write_text(START + "\n" + "\n".join(f"line {number}" for number in range(100)))
    assert folder.log_end(2) == "line 98\nline 99"
