"""Compiled functions where there is no place to keep them, or a bad one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
from cocu.curation.numba_cache import compiled

@compiled(nogil=True)
def doubled(number):
    return 2 * number
"""

PROGRAM = """
import logging; logging.basicConfig()
import numba.core.caching as caching
# Neither beside the source nor under a home, whoever runs this.
for name in ("InTreeCacheLocator", "InTreeCacheLocatorFsAgnostic", "UserWideCacheLocator"):
    getattr(caching, name).from_function = classmethod(lambda cls, py_func, py_file: None)
import doubling
print(doubling.doubled(21), os.environ.get("NUMBA_CACHE_DIR"))
"""


def run(folder: Path, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "doubling.py").write_text(SOURCE)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR")
    }
    code = f"import os, sys; sys.path.insert(0, {str(folder)!r})\n{before}\n{PROGRAM}"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_compiled__is_kept_in_a_cache_of_its_own_without_another(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ended = run(tmp_path, XDG_CACHE_HOME=str(cache))

    assert ended.stdout.split() == ["42", str(cache / "cocu" / "numba")]
    assert list(cache.rglob("*.nbc"))


def test_compiled__is_kept_among_temporary_files_of_this_user_alone(tmp_path: Path) -> None:
    ended = run(tmp_path, TMPDIR=str(tmp_path))
    (folder,) = tmp_path.glob("cocu-numba-*")

    assert ended.stdout.split() == ["42", str(folder)]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_compiled__trusts_no_folder_that_others_may_write_to(tmp_path: Path) -> None:
    planted = tmp_path / f"cocu-numba-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    ended = run(tmp_path, TMPDIR=str(tmp_path))

    assert ended.stdout.split() == ["42", "None"]
    assert ended.stderr.count("compiled functions are not kept") == 1
    assert not list(planted.iterdir())


def test_compiled__trusts_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"cocu-numba-{os.getuid()}").symlink_to(tmp_path / "elsewhere")

    assert run(tmp_path, TMPDIR=str(tmp_path)).stdout.split() == ["42", "None"]


@pytest.mark.parametrize("number", ["errno.ENOSPC", "errno.EACCES", "errno.EROFS"])
def test_compiled__what_cannot_be_kept_is_computed_all_the_same(tmp_path: Path, number: str) -> None:
    before = (
        "import errno, numba.core.caching as caching\n"
        "def refused(*arguments): raise OSError(" + number + ", 'refused')\n"
        "caching.IndexDataCacheFile.save = refused"
    )
    ended = run(tmp_path, before, XDG_CACHE_HOME=str(tmp_path / "cache"))

    assert ended.stdout.split()[0] == "42"
    assert ended.stderr.count("compiled functions are not kept: refused") == 1


def test_compiled__what_is_damaged_is_compiled_anew(tmp_path: Path) -> None:
    run(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    for kept in (tmp_path / "cache").rglob("*.nb?"):
        kept.write_bytes(b"damaged")
    ended = run(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))

    assert ended.stdout.split()[0] == "42"
