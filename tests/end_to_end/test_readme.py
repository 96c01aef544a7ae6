"""The commands and programs of README and docs do what they say, as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from tests.local_platform import running
from tests.ready_embeddings import partitioned

from cocu.cli.application import app
from cocu.client import CocuClient

REPOSITORY = Path(__file__).parents[2]
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
UNTRIED: Mapping[str, str] = {
    "make ": "makes environments from the package index; that the targets exist is a test of its own",
    "pip install": "installs from the package index",
    "docker compose": "needs Docker; `make compose-smoke` runs it",
    "cocu encoder export": "needs torch and downloads; that the command is complete is a test of its own",
    "cocu-train": "needs torch; `make test-training` runs the commands",
    "127.0.0.1:8100": "asks the training service, which needs torch",
    "s3://": "needs a bucket",
}
"""Blocks that hold one of these are not run here, and why."""
ENDLESS = ("cocu serve", "cocu dashboard")


@dataclass(frozen=True)
class Block:
    """Commands of a page."""

    page: str
    text: str

    @property
    def commands(self) -> list[str]:
        """One a line, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.partition(" #")[0].strip() for line in lines if line.strip()]

    @property
    def is_tried(self) -> bool:
        """Whether it is run here."""
        return not any(words in self.text for words in UNTRIED)


def blocks(language: str = "sh|bash|console") -> list[Block]:
    """Every block of the pages in one of these languages."""
    pattern = re.compile(rf"^```(?:{language})\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [
        Block(page.name, text) for page in PAGES for text in pattern.findall(page.read_text(encoding="utf-8"))
    ]


COMMANDS = [(block.page, line) for block in blocks() for line in block.commands]


@dataclass(frozen=True)
class Desk:
    """A folder as the pages suppose it, beside a platform that holds what the README's program made."""

    folder: Path
    url: str
    printed: list[str]
    curation: str

    def environment(self) -> dict[str, str]:
        """Of a shell in which `cocu` is installed."""
        own = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "COCU_SERVER": self.url}
        return {**os.environ, **own, "CURATION": self.curation, "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def desk(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    examples = repository / "examples"
    (folder / "examples" / "scenes").mkdir(parents=True)
    # A quarter of the scenes: what is tried are the commands.
    for name in ("scenes-00000.tar", "labels.json"):
        (folder / "examples" / "scenes" / name).symlink_to(examples / "scenes" / name)
    (folder / "examples" / "encoders").symlink_to(examples / "encoders")
    (folder / "holidays.tar").symlink_to(examples / "scenes" / "scenes-00000.tar")
    vectors_ND = np.random.default_rng(0).normal(size=(4, 192))
    for name, content in partitioned(vectors_ND, dict.fromkeys("abcd", "a dog"), rows=2).items():
        (folder / "laion" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "laion" / name).write_bytes(content)
    (folder / "bin").mkdir()
    script = folder / "bin" / "cocu"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cocu "$@"\n')
    script.chmod(0o755)
    with running(folder / "platform of the tests", examples / "encoders" / "scenes") as server:
        printed = run_program(folder, server.url)
        with CocuClient(server.url) as client:
            [curation] = client.curations.list()
        yield Desk(folder, server.url, printed, curation.id)
    shutil.rmtree(folder)


def run_program(folder: Path, url: str) -> list[str]:
    """The lines that the README's program prints."""
    [block] = [block for block in blocks("python") if block.page == "README.md"]
    before, shown = Path.cwd(), StringIO()
    os.chdir(folder)
    try:
        with redirect_stdout(shown):
            exec(block.text.replace("http://127.0.0.1:8000", url), {})
    finally:
        os.chdir(before)
    return shown.getvalue().splitlines()


def test_the_program_of_the_readme(desk: Desk) -> None:
    assert len(desk.printed) > 250
    assert desk.printed[-2].startswith("0 256 ")
    assert desk.printed[-1].startswith("1 24 ")


@pytest.mark.parametrize(
    "block",
    [block for block in blocks() if block.is_tried],
    ids=lambda block: f"{block.page}: {block.commands[0]}",
)
def test_commands__run_as_printed(block: Block, desk: Desk) -> None:
    if any(command.startswith(ENDLESS) for command in block.commands):
        serve(block, desk)
        return
    ended = subprocess.run(
        ["sh", "-ec", block.text],
        cwd=desk.folder,
        env=desk.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def serve(block: Block, desk: Desk) -> None:
    """Run a server until it says that it is up; on a free port, since the usual one may be taken."""
    [command] = block.commands
    with subprocess.Popen(
        ["sh", "-c", f"exec {command} --port 0"],
        cwd=desk.folder,
        env=desk.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert re.search("(^cocu|^the dashboard of .*) on http://127.0.0.1:", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(("page", "command"), [one for one in COMMANDS if one[1].startswith("cocu ")])
def test_commands__have_what_they_need_and_no_option_that_is_none(
    page: str, command: str, desk: Desk
) -> None:
    words = command.replace("$CURATION", desk.curation).split()[1:]
    before = Path.cwd()
    os.chdir(desk.folder)
    try:
        parse(typer.main.get_command(app), words)
    finally:
        os.chdir(before)


def parse(command: Any, words: list[str], parent: Any = None) -> None:
    """Reads a command line without running it; raises where something is missing or unknown."""
    with command.make_context(command.name, list(words), parent=parent) as context:
        if hasattr(command, "resolve_command"):
            _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            parse(inner, rest, context)


@pytest.mark.parametrize(("page", "command"), [one for one in COMMANDS if one[1].startswith("make ")])
def test_targets__are_in_the_makefile(page: str, command: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *command.split()[1:]],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_extras__of_the_readme_are_those_of_the_project() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| extra |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE))
    assert named == project["optional-dependencies"].keys() - {"dev", "training-dev"}


@pytest.mark.parametrize("words", UNTRIED)
def test_untried__nothing_is_left_out_that_is_not_there(words: str) -> None:
    assert any(words in block.text for block in blocks())


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page)
def test_programs__are_python(block: Block) -> None:
    compile(block.text, block.page, "exec")


def test_links__lead_to_pages_and_pictures_that_are_there() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name} links to {link}"
