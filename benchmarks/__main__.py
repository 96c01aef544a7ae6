"""Run every benchmark of this folder and end with a table; exit 1 if a bound does not hold.

python -m benchmarks              all of them but those that take long (NAMED_ONLY)
python -m benchmarks curation     those whose name contains one of the words given
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

NAMED_ONLY = frozenset({"million", "training_experiment", "training_texts"})
"""The first two take minutes or hours; the last one reads what the second left."""

NEEDS_TORCH = "training_"
NEEDS_GPU = "_gpu"


def main(words: list[str]) -> int:
    """Run the benchmarks that match; the exit status."""
    rows: list[tuple[str, str, str, str]] = []
    failed = False
    for name in benchmark_names(words):
        print(f"\n=== {name}", flush=True)
        results, status = run(name)
        for result in results:
            verdict = "holds" if result["holds"] else "DOES NOT HOLD"
            value = f"{result['value']:g} {result['unit']}"
            rows.append((result["benchmark"], value, str(result["bound"]), verdict))
        if status != 0 or not results:
            rows.append((name, "-", "-", f"FAILED (exit {status})"))
        failed |= status != 0 or not results or not all(result["holds"] for result in results)
    print_table(rows)
    return 1 if failed else 0


def benchmark_names(words: list[str]) -> list[str]:
    """The modules of this folder that have a `main` to run, as `python -m benchmarks.NAME` does."""
    names = [
        path.stem for path in sorted(FOLDER.glob("*.py")) if not path.stem.startswith("_") and has_main(path)
    ]
    if words:
        names = [name for name in names if any(word in name for word in words)]
    else:
        names = [name for name in names if name not in NAMED_ONLY]
    if importlib.util.find_spec("torch") is None and any(name.startswith(NEEDS_TORCH) for name in names):
        print(f"benchmarks {NEEDS_TORCH}* are left out: torch is not installed here")
        names = [name for name in names if not name.startswith(NEEDS_TORCH)]
    if any(name.endswith(NEEDS_GPU) for name in names) and not has_gpu():
        print(f"no GPU here: nothing is measured by benchmarks *{NEEDS_GPU}")
        names = [name for name in names if not name.endswith(NEEDS_GPU)]
    return names


def has_gpu() -> bool:
    """Whether torch is there and sees one."""
    return importlib.util.find_spec("torch") is not None and bool(
        importlib.import_module("torch").cuda.is_available()
    )


def has_main(path: Path) -> bool:
    """Whether a module defines `main`; it is parsed, not imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def run(name: str) -> tuple[list[dict[str, Any]], int]:
    """Run one benchmark in a process of its own; what it reported, and its exit status."""
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    results = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if (result := parse(line)) is not None:
                results.append(result)
    return results, process.returncode


def parse(line: str) -> dict[str, Any] | None:
    """The report on this line, if it is one."""
    if not line.startswith("{"):
        return None
    try:
        result = json.loads(line)
    except json.JSONDecodeError:
        return None
    if not {"benchmark", "value", "unit", "bound", "holds"} <= result.keys():
        return None
    return dict(result)


def print_table(rows: list[tuple[str, str, str, str]]) -> None:
    """Print the results under one another."""
    table = [("benchmark", "value", "bound", ""), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    print()
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
