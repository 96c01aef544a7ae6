"""The command line as a person uses it: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local_platform import picture
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.cli import scenes
from cocu.cli.failures import CommandFailedError

CAPTIONS = {"one": "a dog on a bench", "two": "a cat in a tree", "three": "a dog and a car", "four": "a boat"}


def cocu(*arguments: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cocu", *map(str, arguments)]
    sent = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=sent, check=False)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "holiday pictures"
    (folder / "deeper").mkdir(parents=True)
    for seed, (key, caption) in enumerate(CAPTIONS.items()):
        parent = folder if seed % 2 else folder / "deeper"
        (parent / f"{key}.jpg").write_bytes(picture(seed))
        (parent / f"{key}.txt").write_text(caption)
    (folder / "silent.png").write_bytes(picture(9, format="PNG"))
    return folder


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    file = tmp_path / "things.txt"
    file.write_text("dog\ncat\nbench\ntree\ncar\nboat\n")
    return file


def test_version__and_help() -> None:
    assert cocu("--version").stdout.startswith("cocu ")
    shown = cocu("--help")
    assert shown.returncode == 0
    for command in (
        "serve",
        "curate",
        "demo",
        "dataset",
        "archive",
        "evaluate",
        "vocabulary",
        "encoder",
        "scenes",
    ):
        assert command in shown.stdout


def test_client_commands__import_no_server_package() -> None:
    program = (
        "import sys, cocu.cli\n"
        "heavy = {'fastapi', 'uvicorn', 'sqlalchemy', 'celery', 'faiss', 'onnxruntime', 'pyarrow', 'numba'}\n"
        "raise SystemExit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["curate"],
        ["curate", "/no/such/path"],
        ["serve", "--port", "70000"],
        ["none-such"],
        ["demo", "--twice"],
    ],
)
def test_usage__wrong_ends_with_2(arguments: list[str]) -> None:
    outcome = cocu(*arguments)
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr


def test_failure__is_one_line_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    outcome = cocu("dataset", "list", "--server", f"http://127.0.0.1:{port}")
    assert outcome.returncode == 1
    assert outcome.stderr.count("\n") == 1
    assert "is the platform running there?" in outcome.stderr


def test_serve__a_port_in_use_is_named(tmp_path: Path, encoder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = cocu("serve", "--port", port, "--data", tmp_path / "data", "--encoder", encoder)
    assert outcome.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_curate__a_folder_of_images(images: Path, vocabulary: Path, encoder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"deeper/one": ["dog", "bench", "car"], "two": ["cat", "tree"]}))
    arguments = ("curate", images, "--encoder", encoder, "--vocabulary", vocabulary, "--labels", labels)
    arguments += ("--neighbours", "2", "--data", tmp_path / "data")
    shown = cocu(*arguments)
    assert shown.returncode == 0, shown.stderr
    assert "4 samples" in shown.stdout
    assert "1 sample skipped: missing_caption 1" in shown.stdout
    assert "caption alone" in shown.stdout
    assert "upload" in shown.stderr
    again = cocu(*arguments, "--json")
    document = json.loads(again.stdout)
    assert document["report"]["accepted"] == 4
    assert document["curation"]["state"] == "completed"
    assert document["curation"]["parameters"]["neighbours"] == 2
    assert {row["name"] for row in document["evaluation"]["rows"]} == {"caption", "archive"}


@pytest.mark.slow
def test_curate__labels_that_are_of_nothing_end_it_before_the_run_and_others_are_counted(
    images: Path, encoder: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.json"
    arguments = ("curate", images, "--encoder", encoder, "--data", tmp_path / "data", "--labels", labels)
    labels.write_text(json.dumps({"000000000139.jpg": ["dog"], "000000000285.jpg": ["cat"]}))
    outcome = cocu(*arguments)
    assert outcome.returncode == 1
    assert "none of the 2 images" in outcome.stderr
    assert "'000000000139.jpg'" in outcome.stderr
    assert "neighbours" not in outcome.stderr
    (images / ".hidden.jpg").write_bytes(picture(7))
    labels.write_text(json.dumps({"one.jpg": ["dog"], "photos/two.jpg": ["cat"], "three/nowhere": ["dog"]}))
    outcome = cocu(*arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert "1 of 3 labels have no sample, such as three/nowhere" in outcome.stdout
    assert "1 file or linked folder of" in outcome.stderr
    assert ".hidden.jpg" in outcome.stderr


def test_curate__without_an_encoder_says_how_to_give_one(images: Path, tmp_path: Path) -> None:
    outcome = cocu("curate", images, "--data", tmp_path / "data")
    assert outcome.returncode == 1
    assert "--encoder" in outcome.stderr


@pytest.mark.slow
def test_curate__other_content_under_the_same_name(images: Path, encoder: Path, tmp_path: Path) -> None:
    arguments = ("curate", images, "--encoder", encoder, "--data", tmp_path / "data")
    assert cocu(*arguments).returncode == 0
    (images / "five.jpg").write_bytes(picture(5))
    (images / "five.txt").write_text("a tree")
    outcome = cocu(*arguments)
    assert outcome.returncode == 1
    assert "--name" in outcome.stderr


def test_curate__nothing_usable_says_why(tmp_path: Path, encoder: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"<html>")
    (folder / "a.txt").write_text("a dog")
    outcome = cocu("curate", folder, "--encoder", encoder, "--data", tmp_path / "data")
    assert outcome.returncode == 1
    assert "not_an_image 1" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.fixture
def served(tmp_path: Path, encoder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "cocu", "serve", "--port", "0"]
    command += ["--data", str(tmp_path / "data"), "--encoder", str(encoder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, line.split()[2].rstrip(",")
        process.kill()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_serve__prints_its_address_and_stops_when_asked(
    served: tuple[subprocess.Popen[str], str], images: Path, vocabulary: Path, kind: signal.Signals
) -> None:
    process, url = served
    if kind is signal.SIGINT:
        arguments = ("curate", images, "--vocabulary", vocabulary, "--server", url, "--json")
        outcome = cocu(*arguments, "-L", "2")
        assert outcome.returncode == 0, outcome.stderr
        curation = json.loads(outcome.stdout)["curation"]["id"]
        shown = cocu("archive", "show", curation, "deeper/one", "--server", url)
        assert "a [dog] on a [bench]" in shown.stdout
        assert "own caption" in shown.stdout
        assert {"prior", "support", "global", "Neighbours"} <= set(shown.stdout.split())
        drawn = cocu("draws", curation, "deeper/one", "--epochs", "2", "--raw", "--server", url)
        assert "among 3 texts" in drawn.stdout
        assert drawn.stdout.count("epoch ") == 2
        draws = json.loads(
            cocu("draws", curation, "deeper/one", "--epoch", "4", "--json", "--server", url).stdout
        )
        assert [epoch["epoch"] for epoch in draws["epochs"]] == [4, 5, 6, 7, 8]
        listed = cocu("dataset", "list", "--json", COCU_SERVER=url)
        assert json.loads(listed.stdout)["name"] == "holiday pictures"
    process.send_signal(kind)
    assert process.wait(timeout=30) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_vocabulary__report_and_show(vocabulary: Path) -> None:
    shown = cocu("vocabulary", "report", "--json")
    overlaps = {(row := json.loads(line))["benchmark"]: row for line in shown.stdout.splitlines()}
    assert overlaps["coco"]["named"] == overlaps["coco"]["classes"] == 80
    assert "dogs" in cocu("vocabulary", "show", vocabulary).stdout
    wrong = cocu("vocabulary", "report", "--without", "none-such")
    assert wrong.returncode == 1
    assert "none-such" in wrong.stderr


def test_vocabulary__files_of_any_encoding_and_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_bytes("красный автомобиль\nзелёное дерево\n".encode("cp1251"))
    shown = cocu("vocabulary", "show", file)
    assert "красный автомобиль" in shown.stdout
    assert "not UTF-8; read as cp1251" in shown.stderr
    file.write_text("# nothing yet\n")
    empty = cocu("vocabulary", "show", file)
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "own has no concepts: write one per line" in empty.stderr
    (tmp_path / "own.json").write_text('{"concepts": {"pets": ["dog"], "pets": ["cat"]}}')
    twice = cocu("vocabulary", "show", tmp_path / "own.json")
    assert twice.returncode == 1
    assert "'pets' is there twice in one object" in twice.stderr


def test_encoder__check(encoder: Path, tmp_path: Path) -> None:
    assert "tiny runs" in cocu("encoder", "check", encoder).stdout
    wrong = cocu("encoder", "check", tmp_path)
    assert wrong.returncode == 1
    assert "encoder.json" in wrong.stderr


def test_scenes__generate(tmp_path: Path) -> None:
    assert cocu("scenes", "generate", tmp_path / "scenes", "--count", 4, "--shards", 2).returncode == 0
    assert sorted(path.name for path in (tmp_path / "scenes").iterdir()) == [
        "labels.json",
        "scenes-00000.tar",
        "scenes-00001.tar",
    ]
    wrong = cocu("scenes", "generate", tmp_path / "other", "--count", 1, "--shards", 2)
    assert wrong.returncode == 1


def test_scenes__without_a_checkout_say_that_they_need_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cocu_scenes", None)
    with pytest.raises(CommandFailedError, match="in a checkout"):
        scenes.generate(tmp_path / "scenes")
