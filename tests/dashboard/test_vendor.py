"""What is shipped of other projects is what the table says: name, version, licence, bytes."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

FOLDER: Final = Path("services/cocu/dashboard/static/vendor")
LICENCES: Final = {"0BSD", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Apache-2.0"}


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / FOLDER


@pytest.fixture
def table(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "vendor.toml").read_text(encoding="utf-8"))


def test_files__are_those_of_the_table(folder: Path, table: dict[str, Any]) -> None:
    listed = {name: entry["sha256"] for asset in table.values() for name, entry in asset["files"].items()}
    there = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "vendor.toml"
    }
    assert there == listed, "run `make vendor`, or put what is new into vendor.toml"


def test_assets__have_a_version_and_a_licence_with_its_text(folder: Path, table: dict[str, Any]) -> None:
    for name, asset in table.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", asset["version"]), name
        assert asset["licence"] in LICENCES, name
        texts = [file for file in asset["files"] if "LICEN" in file.upper()]
        assert len(texts) == 1, f"{name} needs the text of its licence among its files"
        assert len((folder / texts[0]).read_text(encoding="utf-8")) > 300


def test_htmx__says_the_version_of_the_table(folder: Path, table: dict[str, Any]) -> None:
    assert f'"{table["htmx"]["version"]}"' in (folder / "htmx.min.js").read_text(encoding="utf-8")


def test_own_files__load_nothing_from_elsewhere(folder: Path) -> None:
    own = [path for path in folder.parent.rglob("*") if path.suffix in {".js", ".css"}]
    own = [path for path in own if folder not in path.parents]
    assert len(own) >= 3
    for path in own:
        # The name of a namespace, from where nothing is loaded.
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|\beval\(|new Function|innerHTML", text), path.name
