"""What a run leaves in its folder: records, which become events once each, and why it failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cocu_training.error_file import ERROR_FILE, error_written
from cocu_training.errors import DataError
from cocu_training.service.run_dir import MAX_LINES, START, RunFolder, Tail


def write(file: Path, steps: Sequence[int], *, rest: str = "") -> None:
    """Replace the file, as the trainer does when it starts."""
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
    write(folder.records, range(2 * MAX_LINES + 1))
    tail = Tail(folder.records, lines=0, file_before=None)
    read = [tail.read() for _ in range(4)]
    assert [len(lines) for lines in read] == [MAX_LINES, MAX_LINES, 1, 0]
    assert [step for lines in read for step in steps(lines)] == list(range(2 * MAX_LINES + 1))


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


def fail(file: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail as a rank does."""
    monkeypatch.setenv(ERROR_FILE, str(file))
    with pytest.raises(type(error)), error_written():
        raise error


def report(status: int, rank: int, *, path: str = "torch") -> str:
    """What torchrun prints after a rank has failed."""
    return (
        f"E1130 11:43:23.817000 30422 {path}/distributed/elastic/multiprocessing/api.py:1002] "
        f"failed (exitcode: {status}) local_rank: {rank} (pid: 30426) of binary: /usr/bin/python\n"
        "Traceback (most recent call last):\n" + "  frame\n" * 30
    )


@pytest.mark.parametrize("printed", [report(1, 0), "a summary of another form\n" * 30])
def test_failure__is_what_the_first_rank_to_fail_wrote_whatever_is_printed_after_it(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    folder.error_file(2).parent.mkdir()
    folder.log.write_text(f"{START}\nprinted by the trainer\n{printed}")
    fail(folder.error_file(1), DataError("of an earlier start"), monkeypatch)
    fail(folder.error_file(2), DataError("batch 7 is damaged"), monkeypatch)
    fail(folder.error_file(2), ConnectionError("closed by the other rank"), monkeypatch)
    assert folder.failure(2).splitlines()[0] == "batch 7 is damaged"
    assert "summary" not in folder.failure(2)
    assert "frame" not in folder.failure(2)


def test_failure__of_an_unexpected_error_is_the_end_of_its_traceback(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.error_file(1).parent.mkdir()
    fail(folder.error_file(1), ArithmeticError("a name that is not UTF-8: \udcff"), monkeypatch)
    *_, frame, last = folder.failure(1).splitlines()
    assert (frame.strip(), last) == ("raise error", "ArithmeticError: a name that is not UTF-8: \\udcff")


def test_error__that_nobody_asks_for_or_that_cannot_be_written_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(tmp_path / "absent" / "1.error", DataError("batch 7 is damaged"), monkeypatch)
    monkeypatch.delenv(ERROR_FILE)
    with pytest.raises(DataError, match="batch 7"), error_written():
        raise DataError("batch 7 is damaged")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["torch", "/usr/lib/site-packages/torch"])
def test_failure__of_ranks_that_wrote_nothing_is_the_end_of_the_log_before_torchruns_report(
    folder: RunFolder, path: str
) -> None:
    assert folder.failure(1) == ""
    printed = f"\x1b[31mout of memory\x1b[0m\n\n{report(-9, 3, path=path)}"
    folder.log.write_text(f"{START}\nolder\n{START}\n{printed}")
    assert folder.failure(1) == "out of memory\nrank 3 ended with exit status -9"
    folder.log.write_text(START + "\n" + "\n".join(f"line {number}" for number in range(100)))
    assert folder.failure(1, lines=2) == "line 98\nline 99"
