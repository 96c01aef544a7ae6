"""The Makefile where a path has spaces in it, and where Python is not the one that a wheel was made for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from tests.servers.triton_server import TritonServer

REPOSITORY = Path(__file__).parents[2]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs make in a folder, with nothing of this checkout in its environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COCU_"))}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=own, capture_output=True, text=True, check=False
    )


@pytest.fixture
def spaced(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demo__runs_in_a_checkout_whose_path_has_spaces(spaced: Path) -> None:
    """With the packages of this environment, since its own would come from the package index."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no checkout of git, whose files could be copied")
    for name in listed.stdout.decode().split("\0")[:-1]:
        if (REPOSITORY / name).is_file():
            (spaced / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, spaced / name)
    environment = spaced / ".venv-demo"
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    paths = (spaced / "services", sysconfig.get_path("purelib"))
    (packages / "own.pth").write_text("".join(f"{path}\n" for path in paths))
    (environment / ".installed").touch()
    done = make(spaced, "demo", "DEMO_ARGS=--once")
    assert done.returncode == 0, done.stderr
    assert "concepts per archive" in done.stdout


def test_environments__are_made_by_a_python_whose_path_has_spaces_and_triton_is_left_out(
    spaced: Path,
) -> None:
    """Python 3.13 is a stand-in that knows no more than what is asked of it."""
    python = spaced / "python3.13"
    python.write_text("#!/bin/sh\ncase $1 in --version) echo Python 3.13.0;; *) exit 1;; esac\n")
    python.chmod(0o755)
    shutil.copy(REPOSITORY / "Makefile", spaced)
    (spaced / "requirements").mkdir()
    shutil.copy(REPOSITORY / "requirements/triton.txt", spaced / "requirements")
    done = make(spaced, ".venv-triton/.installed", f"PYTHON={python}")
    assert done.returncode == 0, done.stderr
    assert "its wheel is for Python 3.11, not for Python 3.13.0" in done.stdout
    assert [file.name for file in (spaced / ".venv-triton").iterdir()] == [".installed"]


def test_triton__with_another_python_its_tests_skip_where_servers_are_required_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCU_TEST_SERVERS", "required")
    with monkeypatch.context() as other:
        other.setattr(sys, "version_info", (3, 13, 0, "final", 0))
        with pytest.raises(pytest.skip.Exception) as skipped:
            TritonServer(tmp_path, tmp_path)
    assert "for Python 3.11" in str(skipped.value)
