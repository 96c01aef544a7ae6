"""Wrong options and settings: one line, which names what is wrong and what it may be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.local_platform import picture
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner

from cocu.cli.application import app


def cocu(*arguments: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cocu", *map(str, arguments)]
    sent = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=sent, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("curate", ".", "--scoring", "foo"), ("'evidence'", "'official'", "'set'")),
        (("curate", ".", "--search", "foo"), ("'auto'", "'exact'", "'ivf'")),
        (("curate", ".", "-L", "0"), ("--neighbours", "1")),
        (("curate", ".", "-L", "1000"), ("--neighbours", "256")),
        (("curate", ".", "--max-concepts", "0"), ("--max-concepts", "1")),
        (("curate", ".", "--min-score", "nan"), ("--min-score", "finite")),
        (("concepts", "ID", "--order", "foo"), ("'captions'",)),
        (("batches", "head", "ID", "--sampler", "foo"), ("'uniform'",)),
    ],
)
def test_options__that_are_wrong_name_what_there_is(
    arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})
    assert ended.exit_code == 2
    said = " ".join(ended.output.split())
    assert all(word in said for word in words), said
    assert "Traceback" not in said


@pytest.mark.parametrize("option", ["scoring", "search"])
def test_help__names_the_choices(option: str) -> None:
    said = CliRunner().invoke(app, ["curate", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    choices = {"scoring": ("evidence", "official", "set"), "search": ("auto", "exact", "ivf")}[option]
    [line] = [line for line in said.splitlines() if f"--{option} " in line]
    assert all(choice in line for choice in choices)


def test_help__of_the_demo_says_that_its_data_are_deleted() -> None:
    said = CliRunner().invoke(app, ["demo", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert "deleted when the demo ends" in said
    assert ".cocu by default" not in said


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        (("serve", "--port", "0"), "COCU_FETCH_PORTS", "http"),
        (("worker",), "COCU_LEASE_SECONDS", "soon"),
        (("sweeper",), "COCU_IMPORT_BUCKETS", "bucket/prefix"),
        (("catalog", "migrate"), "COCU_FETCH_NETWORKS", "[10.0.0.0/8"),
    ],
)
def test_settings__that_are_wrong_are_one_line_with_their_name(
    command: tuple[str, ...], name: str, value: str, tmp_path: Path
) -> None:
    ended = cocu(*command, COCU_DATA_FOLDER=str(tmp_path / "data"), **{name: value})
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"error: {name} is '{value}'" in ended.stderr


def test_serve__says_what_it_lacks_and_who_may_come(tmp_path: Path) -> None:
    lines = first_lines("serve", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path / "data")
    assert "everyone who reaches it can read, change and delete everything" in lines
    assert "it has no encoder" in lines
    encoder = write_tiny_encoder(tmp_path / "encoder")
    lines = first_lines("serve", "--port", "0", "--data", tmp_path / "data", "--encoder", encoder)
    assert "encoder" not in lines
    assert "everyone" not in lines


def first_lines(*arguments: object) -> str:
    """What a server says until it is up, on both streams."""
    command = [sys.executable, "-m", "cocu", *map(str, arguments)]
    sent = {**os.environ, "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=sent
    ) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.kill()
    return said


def test_demo__takes_another_port_where_the_usual_one_is_taken() -> None:
    from cocu.cli.local import available_port

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert available_port(port) == 0
    assert available_port(port) == port


@pytest.mark.slow
def test_ctrl_c__in_curate_says_how_to_go_on_and_the_same_command_does(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(picture(number))
        (folder / f"{number}.txt").write_text("a dog")
    encoder = write_tiny_encoder(tmp_path / "encoder")
    arguments = [
        "curate",
        str(folder),
        "--encoder",
        str(encoder),
        "--data",
        str(tmp_path / "data"),
        "-L",
        "2",
    ]
    command = [sys.executable, "-m", "cocu", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("platform on "):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail(f"it was done before it could be interrupted: {said}")
    assert process.returncode == 130
    assert "the same command goes on where it was" in told
    assert "Traceback" not in told
    again = cocu(*arguments)
    assert again.returncode == 0, again.stderr
    assert "4 samples" in again.stdout
    # First attempts are often made with a few images.
    assert "4 samples are few for 2 neighbours: expect noise" in again.stdout
