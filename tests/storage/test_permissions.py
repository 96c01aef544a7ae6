"""The folders of data and of vectors are closed to other users, and a folder of theirs is not used."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cocu.errors import MachineError
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage.permissions import make_private_folder
from cocu.vectors.edge import EdgeStore


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


@pytest.fixture
def folder_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder whose owner is neither root nor, as far as the process can see, its own user."""
    folder = tmp_path / "folder"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 12345, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    return folder


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda folder: Platform.open(Settings(data_folder=folder)), id="data"),
        pytest.param(EdgeStore.open, id="vectors"),
    ],
)
def test_a_folder_of_another_user_is_refused_and_left_alone(
    folder_of_another: Path, use: Callable[[Path], object]
) -> None:
    folder_of_another.chmod(0o777)
    owner = folder_of_another.stat().st_uid
    with pytest.raises(MachineError, match=f"belongs to user {owner}, .* runs as 54321.*chown") as refused:
        use(folder_of_another)
    assert refused.value.location == str(folder_of_another)
    assert mode(folder_of_another) == 0o777
    assert not list(folder_of_another.iterdir())


def test_root_may_use_the_folder_of_anybody(folder_of_another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder_of_another.chmod(0o755)
    make_private_folder(folder_of_another)
    assert mode(folder_of_another) == 0o755


def test_a_folder_of_root_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if tmp_path.stat().st_uid != 0:
        pytest.skip("only root can make a folder of root")
    tmp_path.chmod(0o775)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o775
