"""The process of umap-learn, where neither its package nor the user's home can be written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cocu.projections.positions import Images
from cocu.projections.umap_positions import umap_positions

UMAP = """
import numba

@numba.njit(cache=True)
def doubled(places):
    return 2 * places

class UMAP:
    def __init__(self, **options): pass
    def fit_transform(self, places): return doubled(places)
"""
READ_ONLY = """
import numba.core.caching as caching

def refuse(self): raise PermissionError(13, "read-only")

for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator):
    locator.ensure_cache_path = refuse
"""


@pytest.fixture
def embeddings_ND() -> NDArray[np.float16]:
    points = np.random.default_rng(0).standard_normal((20, 4))
    halves_ND: NDArray[np.float16] = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(
        np.float16
    )
    return halves_ND


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for umap-learn, and a numba that may write only among temporary files, which are here."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "umap.py").write_text(UMAP)
    (packages / "sitecustomize.py").write_text(READ_ONLY)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages), *sys.path]))
    return temporary


def test_positions__are_computed_and_what_was_compiled_is_kept_once(
    embeddings_ND: NDArray[np.float16], read_only: Path
) -> None:
    first = umap_positions(Images(embeddings=[embeddings_ND], seed=0))
    kept = sorted(file for file in read_only.rglob("*") if file.is_file())
    again = umap_positions(Images(embeddings=[embeddings_ND], seed=0))

    np.testing.assert_array_equal(first, again)
    assert any(file.suffix == ".nbc" for file in kept)
    assert sorted(file for file in read_only.rglob("*") if file.is_file()) == kept


def test_positions__are_computed_by_a_process_that_takes_its_time_to_begin(
    read_only: Path, tmp_path: Path
) -> None:
    with (tmp_path / "packages" / "sitecustomize.py").open("a") as file:
        file.write("\nimport time; time.sleep(1.5)\n")
    points = np.random.default_rng(0).standard_normal((2000, 4))
    embeddings_ND = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)
    steps: list[int] = []

    def advance(images: int) -> None:
        steps.append(images)
        assert len(steps) < 300, "it hangs"

    assert len(umap_positions(Images(embeddings=[embeddings_ND], seed=0, advance=advance))) == 2000


@pytest.mark.parametrize("unusable", ["/proc/nowhere", "/dev/null/nowhere"])
def test_positions__are_computed_where_nothing_can_be_kept(
    embeddings_ND: NDArray[np.float16], read_only: Path, monkeypatch: pytest.MonkeyPatch, unusable: str
) -> None:
    (read_only / f"cocu-numba-{os.getuid()}").write_text("no folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", unusable)

    assert np.isfinite(umap_positions(Images(embeddings=[embeddings_ND], seed=0))).all()
