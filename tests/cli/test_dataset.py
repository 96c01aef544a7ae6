"""`cocu dataset …`, in the process of the test, against a real platform."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.local_platform import picture, running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner

from cocu.api.server import LocalServer
from cocu.cli.application import app
from cocu.client import CocuClient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    with running(folder / "data", write_tiny_encoder(folder / "encoder")) as started:
        yield started


def cocu(server: LocalServer, *arguments: object) -> str:
    sent = ["dataset", *map(str, arguments), "--server", server.url]
    outcome = CliRunner().invoke(app, sent, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_add__takes_a_folder_of_parquet_and_says_what_it_left(server: LocalServer, tmp_path: Path) -> None:
    folder = tmp_path / "pairs of dogs"
    (folder / "data").mkdir(parents=True)
    for number in range(2):
        columns = {"image": [picture(2 * number), picture(2 * number + 1)], "caption": ["a dog", "a cat"]}
        pq.write_table(pa.table(columns), folder / "data" / f"train-{number}.parquet")
    (folder / "README.md").write_text("# Dogs")
    planned = json.loads(cocu(server, "add", folder, "--dry-run", "--json"))
    assert planned == {"taken": ["data-train-0.parquet", "data-train-1.parquet"], "ignored": ["README.md"]}
    with CocuClient(server.url) as client:
        assert "pairs of dogs" not in {dataset.name for dataset in client.datasets.list()}
    done = json.loads(cocu(server, "add", folder, "--json"))
    assert (done["dataset"]["name"], done["dataset"]["samples"]) == ("pairs of dogs", 4)
    assert done["report"]["accepted"] == 4
    assert "not taken: README.md" in cocu(server, "add", folder)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    folder = tmp_path / "coco"
    folder.mkdir()
    annotations = [{"image_id": 1, "caption": text} for text in ("one", "two")]
    table = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
    (folder / "captions.json").write_text(json.dumps(table))
    (folder / "a.jpg").write_bytes(picture(1, side=64))
    (folder / "b.jpg").write_bytes(picture(2))
    return folder


def test_upload__with_options_and_the_report_as_csv(server: LocalServer, coco: Path, tmp_path: Path) -> None:
    dataset = cocu(server, "upload", "coco", coco, "--captions", "all", "--short-side", 32).strip()
    with CocuClient(server.url) as client:
        client.datasets.wait(dataset, timeout=60)
        samples = list(client.datasets.samples(dataset))
    assert [(sample.key, sample.caption, sample.width) for sample in samples] == [
        ("a-0", "one", 32),
        ("a-1", "two", 32),
    ]
    report = json.loads(cocu(server, "report", dataset, "--csv", tmp_path / "report.csv", "--json"))
    assert report["reasons"] == {"missing_caption": 1}
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["outcome"], row["count"], row["key"]) for row in rows] == [
        ("accepted", "2", ""),
        ("skipped", "1", "b"),
    ]


def test_retry__names_what_is_read_again(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "junk.tar").write_bytes(b"this is no archive")
    dataset = cocu(server, "upload", "junk", tmp_path / "junk.tar").strip()
    with CocuClient(server.url) as client:
        client.datasets.wait(dataset, timeout=60)
    assert json.loads(cocu(server, "retry", dataset, "--json")) == {
        "uploads": ["junk.tar"],
        "unsent": [],
        "rows": 0,
        "samples": 0,
    }


def test_upload__an_option_that_is_none_is_named(server: LocalServer, coco: Path) -> None:
    outcome = CliRunner().invoke(app, ["dataset", "upload", "x", str(coco), "--captions", "some"])
    assert outcome.exit_code == 2
    assert "--captions" in outcome.output


def test_samples__by_words_and_by_row(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "pairs.tar").write_bytes(
        tar_of_samples({"b": "a [dog]", "a": "a cat", "c": "dogs\nand a dog"})
    )
    cocu(server, "add", tmp_path / "pairs.tar", "--name", "three pairs")
    listed = [json.loads(line) for line in cocu(server, "samples", "three pairs", "--json").splitlines()]
    assert [sample["key"] for sample in listed] == ["a", "b", "c"]
    shown = cocu(server, "samples", "three pairs", "--caption", "dog").splitlines()
    assert [line.split() for line in shown[1:]] == [
        ["0", "b", "a", "[dog]"],
        ["2", "c", "dogs", "and", "a", "dog"],
    ]
    assert (
        len(cocu(server, "samples", "three pairs", "--order", "row", "--row", 1, "--limit", 1).splitlines())
        == 2
    )
