"""The page on presets names every preset and every field; needs no torch."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def configuration(repository: Path) -> ast.Module:
    file = repository / "training" / "cocu_training" / "configuration.py"
    return ast.parse(file.read_text(encoding="utf-8"))


def tables(repository: Path) -> set[str]:
    """The names in the first column of the tables of the section."""
    page = (repository / "docs" / "training-service.md").read_text(encoding="utf-8")
    section = page.partition("## Presets and fields")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_preset_and_field_is_on_the_page(repository: Path) -> None:
    [settings] = [
        node
        for node in configuration(repository).body
        if isinstance(node, ast.ClassDef) and node.name == "TrainingConfiguration"
    ]
    fields = {
        node.target.id
        for node in settings.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    } - {"__pydantic_config__"}
    presets = {
        node.name
        for node in settings.body
        if isinstance(node, ast.FunctionDef) and node.name in {"small", "scenes", "lean", "tiny"}
    }
    assert len(presets) == 4
    assert tables(repository) == fields | presets
