"""The recipes of docs/extending.md, put into a copy of the package as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(python|diff) (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """A section of the page. stated: how many files its table says. blocks: (kind, file, text)."""

    title: str
    stated: str
    blocks: tuple[tuple[str, str, str], ...]

    @property
    def files(self) -> set[str]:
        return {file for _, file, _ in self.blocks}


def recipes(page: str) -> dict[str, Recipe]:
    """The sections by title."""
    _, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    stated = dict(re.findall(r"^\| \[(.+?)\]\(.+?\) \| (.+?) \|", page, re.MULTILINE))
    found = {}
    for section in sections:
        title = section.partition("\n")[0].strip()
        found[title] = Recipe(title, stated[title[0].lower() + title[1:]], tuple(_BLOCK.findall(section)))
    return found


def follow(recipe: Recipe, repository: Path, copy: Path) -> None:
    """Copy the package into a folder and do there what the recipe says."""
    source = repository / "services" / "cocu"
    shutil.copytree(source, copy / "services" / "cocu", ignore=shutil.ignore_patterns("__pycache__"))
    for kind, file, text in recipe.blocks:
        path = copy / file
        if kind == "python":
            assert not path.exists(), f"{file} exists already"
            path.write_text(text, encoding="utf-8")
        else:
            path.write_text(_patched(path.read_text(encoding="utf-8"), text, file), encoding="utf-8")


def _patched(content: str, difference: str, file: str) -> str:
    for hunk in re.split(r"^@@\n", difference, flags=re.MULTILINE):
        lines = hunk.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] in " -")
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] in " +")
        assert content.count(before) == 1, f"{file} has {before!r} not once"
        content = content.replace(before, after)
    return content


def use(copy: Path, program: str) -> str:
    """Run a program with the copy in the place of the package; what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "services")}
    command = [sys.executable, "-c", program]
    outcome = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()
