"""The structure that the design fixes, checked from the code itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

LINES_PER_FILE = 400
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def python_files(repository: Path) -> list[Path]:
    folders = ("services", "training", "tests", "benchmarks")
    return [path for folder in folders for path in sorted((repository / folder).rglob("*.py"))]


def test_imports__arrows_point_one_way(repository: Path) -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    outcome = subprocess.run([linter], cwd=repository, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


def test_files__stay_short_enough_to_see(repository: Path) -> None:
    too_long = {
        str(path.relative_to(repository)): lines
        for path in python_files(repository)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_PER_FILE
    }
    assert not too_long


def test_files__are_named_for_what_they_hold(repository: Path) -> None:
    assert [path for path in python_files(repository) if path.stem in VAGUE_NAMES] == []


@pytest.mark.parametrize("module", ["cocu.api", "cocu.pipeline", "cocu.cli"])
def test_import__loads_no_torch(module: str) -> None:
    program = f"import {module}, sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_import__the_client_needs_no_server_package() -> None:
    program = (
        "import sys, cocu.client\n"
        "heavy = {'fastapi', 'sqlalchemy', 'celery', 'faiss', 'onnxruntime', 'pyarrow', 'PIL', 'numba'}\n"
        "raise SystemExit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("lock", ["server", "dev", "export"])
def test_lock_files__carry_hashes_and_no_index_addresses(repository: Path, lock: str) -> None:
    text = (repository / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    assert all("==" in line and line.endswith("\\") for line in requirements)


def test_lock_files__server_carries_no_torch(repository: Path) -> None:
    text = (repository / "requirements" / "server.txt").read_text(encoding="utf-8")
    assert not any(line.startswith(("torch", "nvidia-")) for line in text.splitlines())


def test_version__is_the_same_in_package_and_project(repository: Path) -> None:
    import cocu

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cocu.__version__ == project["version"]
