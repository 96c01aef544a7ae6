from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| concept | word")
]
IDENTIFIERS = [identifier for row in ROWS for identifier in re.findall(r"`(cocu[\w.]+)`", row[2])]
AVOIDED = ("chunk", "utils", "figures", "census")
"""Words that are in no name of a module, class or function of the workflow."""


def is_there(identifier: str) -> bool:
    try:
        import_module(identifier)
    except ModuleNotFoundError:
        module, _, name = identifier.rpartition(".")
        return hasattr(import_module(module), name)
    return True


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_the_identifier_exists(identifier: str) -> None:
    assert is_there(identifier)


def test_every_row_is_complete_and_every_word_has_one_row() -> None:
    assert all(len(row) == 4 and all(row) for row in ROWS)
    words = [row[1] for row in ROWS]
    assert len(set(words)) == len(words)


def test_avoided_words_are_in_no_names_of_the_workflow(repository: Path) -> None:
    named = []
    for room in ("pipeline", "catalog"):
        for path in sorted((repository / "services" / "cocu" / room).rglob("*.py")):
            if path.parent.name == "versions":  # a migration speaks of what was
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            names = [node.name for node in ast.walk(tree) if isinstance(node, definitions)]
            named += [
                f"{path.name}: {name}"
                for name in (path.stem, *names)
                if any(word in name.lower() for word in AVOIDED)
            ]
    assert not named
