"""Running all benchmarks: which modules count, what a report is, and when the whole fails."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from benchmarks.report import measure, report

run_all = importlib.import_module("benchmarks.__main__")


def write(folder: Path, name: str, *lines: str) -> None:
    (folder / f"{name}.py").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package of benchmarks."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    write(package, "__init__")
    monkeypatch.setattr(run_all, "FOLDER", package)
    return package


def benchmark(holds: bool) -> tuple[str, ...]:
    line = f'{{"benchmark": "b", "value": 1, "unit": "x", "bound": ">= 1", "holds": {str(holds).lower()}}}'
    return ("def main(): ...", "print('some text')", f"print('{line}')")


def test_only_modules_with_a_main_are_benchmarks(folder: Path) -> None:
    write(folder, "speed", "def main(): ...")
    write(folder, "data", "def make(): ...")
    write(folder, "__main__", "def main(): ...")
    assert run_all.benchmark_names([]) == ["speed"]
    assert run_all.benchmark_names(["eed"]) == ["speed"]
    assert run_all.benchmark_names(["other"]) == []


def test_those_of_training_are_left_out_without_torch(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write(folder, "training_speed", "def main(): ...")
    write(folder, "speed", "def main(): ...")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run_all.benchmark_names([]) == ["speed"]
    assert "training_* are left out" in capfd.readouterr().out
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert run_all.benchmark_names(["training"]) == ["training_speed"]


def test_every_bound_must_hold(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(folder, "good", *benchmark(True))
    assert run_all.main([]) == 0
    assert "some text" in capfd.readouterr().out
    write(folder, "poor", *benchmark(False))
    assert run_all.main([]) == 1
    assert "DOES NOT HOLD" in capfd.readouterr().out


def test_a_benchmark_that_breaks_or_says_nothing_fails(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(folder, "broken", *benchmark(True), "raise SystemExit(3)")
    assert run_all.main([]) == 1
    assert "FAILED (exit 3)" in capfd.readouterr().out
    write(folder, "broken", "def main(): ...")
    assert run_all.main([]) == 1


def test_report_is_one_line_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    report("speed", 12345.678, "images/s", ">= 5000", True)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert run_all.parse(line) == {
        "benchmark": "speed",
        "value": 12350.0,
        "unit": "images/s",
        "bound": ">= 5000",
        "holds": True,
    }
    assert run_all.parse("{not json}") is None
    assert run_all.parse('{"value": 1}') is None


def test_measuring_warms_up_first() -> None:
    calls = []
    assert measure(lambda: calls.append(0), repeats=2).wall >= 0
    assert len(calls) == 3
