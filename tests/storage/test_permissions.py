"""The data folder is closed to other users, and files that they may write are not executed."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage.permissions import make_private_folder


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_data_folder_is_closed_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "data"
    with Platform.open(Settings(data_folder=folder)) as platform:
        platform.objects.put("a/b.json", b"{}")
        with platform.objects.writing("a/c.parquet") as file:
            file.write(b"x")
        platform.partial_uploads.create("token")
    assert mode(folder) == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"catalog.sqlite", "b.json", "c.parquet", "token"}
    assert {path.name: mode(path) & 0o077 for path in files} == {path.name: 0 for path in files}


def test_an_open_folder_of_ours_is_closed_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    Platform.open(Settings(data_folder=folder)).close()
    folder.chmod(0o755)
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            Platform.open(Settings(data_folder=folder)).close()
    assert mode(folder) == 0o700
    assert len([line for line in caplog.messages if str(folder) in line]) == 1


def test_a_folder_of_other_things_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not of the platform")
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path, marks=("catalog.sqlite",))
    assert mode(tmp_path) == 0o755
