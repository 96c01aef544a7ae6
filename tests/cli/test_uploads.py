"""Output about uploads: why files could not be used, complete ids, names for ids, exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.local_platform import picture, running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner, Result

from cocu.api.server import LocalServer
from cocu.cli.application import app
from cocu.cli.failures import CommandFailedError, PartlyFailedError
from cocu.client import CocuClient, NothingToUploadError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    with running(folder / "data", write_tiny_encoder(folder / "encoder")) as started:
        yield started


@pytest.fixture
def client(server: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(server.url) as opened:
        yield opened


def cocu(server: LocalServer, *arguments: object, columns: int = 80) -> Result:
    environment = {"COCU_SERVER": server.url, "COLUMNS": str(columns), "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def names(client: CocuClient) -> set[str]:
    return {dataset.name for dataset in client.datasets.list()}


def odd_parquet(file: Path) -> Path:
    table = pa.table({"ident": ["a"], "picture": [picture(0)], "alt_text": ["a dog"]})
    pq.write_table(table, file)
    return file


def unreadable(kind: str, folder: Path) -> tuple[Path, str]:
    """A file that cannot be read, and what is said of it."""
    match kind:
        case "parquet":
            return odd_parquet(folder / "odd pairs.parquet"), "alt_text"
        case "script":
            (folder / "mk.py").write_text("print(1)\n")
            return folder / "mk.py", "accepted formats"
        case "garbage":
            (folder / "g.tar").write_bytes(b"garbage!")
            return folder / "g.tar", "'g.tar' begins with b'garbage!'"
        case _:
            (folder / "captions.json").write_text('{"images": []}')
            return folder / "captions.json", "captions.json"


@pytest.mark.parametrize("command", ["add", "curate", "upload"])
@pytest.mark.parametrize("kind", ["parquet", "script", "garbage", "json"])
def test_nothing_usable__says_why_by_the_files_name_and_leaves_nothing_behind(
    command: str, kind: str, server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    file, words = unreadable(kind, tmp_path)
    name = f"{command} {kind}"
    arguments: dict[str, tuple[object, ...]] = {
        "add": ("dataset", "add", file, "--name", name),
        "upload": ("dataset", "upload", name, file, "--wait"),
        "curate": ("curate", file, "--name", name, "--server", server.url),
    }
    ended = cocu(server, *arguments[command])
    assert isinstance(ended.exception, CommandFailedError), ended.output
    said = str(ended.exception)
    assert words in said
    assert ended.exception.status == 1
    # No id that nobody gave: neither of the upload nor of the dataset.
    assert not re.search(r"[0-9a-f]{32}", said)
    assert "was not kept" in said
    assert name not in names(client)


def test_samples_that_are_all_skipped__are_explained_with_an_example(
    server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    (tmp_path / "a.txt").write_text("a dog")
    ended = cocu(server, "dataset", "add", tmp_path, "--name", "html")
    assert isinstance(ended.exception, CommandFailedError)
    assert "not_an_image 1" in str(ended.exception)
    assert "a.jpg: begins with b'<html>'" in str(ended.exception)
    assert "html" not in names(client)


def test_a_part_that_could_not_be_read__is_status_3_and_the_rest_is_there(
    server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    (tmp_path / "good.tar").write_bytes(tar_of_samples({"a": "a dog", "b": "a cat"}))
    (tmp_path / "junk.tar").write_bytes(b"junk")
    ended = cocu(server, "dataset", "add", tmp_path, "--name", "partly")
    assert isinstance(ended.exception, PartlyFailedError)
    assert ended.exception.status == 3
    assert "2 samples in 2 uploads" in ended.stdout
    assert "not read: 'junk.tar' begins with b'junk'" in ended.stderr
    told = cocu(server, "dataset", "report", "partly")
    assert told.exit_code == 0
    assert "not read: 'junk.tar' begins with" in told.stdout
    # Curating goes on with what could be read, and says what could not.
    curated = cocu(server, "curate", tmp_path, "--name", "partly", "--server", server.url, "-L", 1)
    assert curated.exit_code == 0, curated.output
    assert "not read: 'junk.tar'" in curated.stderr


def test_a_dataset_that_was_there__stays_whatever_comes(
    server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    client.datasets.create("mine")
    file, _ = unreadable("garbage", tmp_path)
    assert isinstance(cocu(server, "dataset", "add", file, "--name", "mine").exception, CommandFailedError)
    assert "mine" in names(client)


@pytest.mark.parametrize("command", ["add", "upload", "curate"])
def test_a_folder_with_nothing__makes_no_dataset(
    command: str, server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    folder = tmp_path / f"empty {command}"
    folder.mkdir()
    arguments: dict[str, tuple[object, ...]] = {
        "add": ("dataset", "add", folder),
        "upload": ("dataset", "upload", folder.name, folder),
        "curate": ("curate", folder, "--server", server.url),
    }
    ended = cocu(server, *arguments[command])
    assert isinstance(ended.exception, NothingToUploadError)
    assert "neither tar, zip or Parquet files" in str(ended.exception)
    assert folder.name not in names(client)


def test_import__of_what_is_refused_leaves_nothing(server: LocalServer, client: CocuClient) -> None:
    ended = cocu(server, "dataset", "import", "refused", "http://127.0.0.1:9/a.tar")
    assert ended.exit_code != 0
    assert "refused" not in names(client)


def test_a_table__is_told_with_its_columns(server: LocalServer, tmp_path: Path) -> None:
    table = pa.table({"image": [picture(4)], "text": ["a dog"], "uid": ["k"]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    ended = cocu(server, "dataset", "add", tmp_path / "pairs.parquet", "--name", "told")
    assert ended.exit_code == 0, ended.output
    assert "pairs.parquet: parquet; " in ended.stdout
    assert "image 'image'" in ended.stdout
    assert "caption 'text'" in ended.stdout


@pytest.mark.parametrize("columns", [20, 80])
def test_ids__are_whole_when_piped(
    columns: int, server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    name = f"a dataset with a name that is far too long for any terminal, {columns}, and goes on"
    identity = client.datasets.create(name).id
    listed = cocu(server, "dataset", "list", columns=columns).stdout
    [line] = [line for line in listed.splitlines() if identity in line]
    assert name in line
    for command in (("report",), ("rejections",), ("retry",)):
        assert cocu(server, "dataset", *command, name).exit_code == 0
    assert cocu(server, "dataset", "delete", name).exit_code == 0
    assert name not in names(client)


def test_a_name_that_is_none__lists_those_there_are_with_an_ellipsis(
    server: LocalServer, client: CocuClient
) -> None:
    for number in range(12):
        client.datasets.create(f"many {number}")
    for command in (("dataset", "report"), ("vocabulary", "mine"), ("search", "a dog", "--dataset")):
        ended = cocu(server, *command, "multi")
        assert isinstance(ended.exception, CommandFailedError)
        assert "there is no dataset 'multi'; there are: " in str(ended.exception)
        assert str(ended.exception).endswith(", …")
