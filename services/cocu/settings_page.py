"""docs/settings.md, made from `Settings`: python -m cocu.settings_page > docs/settings.md."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

from cocu.settings import MEBIBYTE, SECRET, Settings

HEAD = """\
# Settings

A platform reads its settings from the environment. Every process of it (API, worker, sweeper) is given the
same ones. A list is written with commas (`COCU_FETCH_PORTS=80,443`). A wrong value is refused at the start,
in a line that names the variable and says what it may be.

This page is made from `services/cocu/settings.py` by `python -m cocu.settings_page > docs/settings.md`.
"""


def page() -> str:
    """Return the page as Markdown: a table for every group of settings."""
    lines = [HEAD.rstrip()]
    for part, names in _parts():
        lines += ["", f"## {part}", "", "| variable | default | meaning |", "|---|---|---|"]
        lines += [f"| `COCU_{name.upper()}` | {_default(name)} | {_MEANINGS[name]} |" for name in names]
    return "\n".join(lines) + "\n"


def _parts() -> Iterator[tuple[str, list[str]]]:
    """The groups of fields, each under the comment that stands above it in the class."""
    part, names = "", list[str]()
    for line in _SOURCE.splitlines():
        if heading := re.fullmatch(r"    # ([\w ]+)\.", line):
            if names:
                yield part, names
            part, names = heading[1], []
        elif (field := re.match(r"    (\w+): ", line)) and field[1] in Settings.model_fields:
            names.append(field[1])
    yield part, names


def _meanings() -> dict[str, str]:
    """What stands below each field."""
    (definition,) = ast.parse(_SOURCE).body
    assert isinstance(definition, ast.ClassDef)
    meanings: dict[str, str] = {}
    name: str | None = None
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name is not None and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            meanings[name] = " ".join(str(node.value.value).split())
            name = None
    return meanings


def _default(name: str) -> str:
    if name in SECRET:
        return ""
    value = Settings.model_fields[name].default
    return "" if value in (None, "", (), frozenset()) else _written(name, value)


def _written(name: str, value: Any) -> str:
    """A default as the environment would hold it, and large numbers of bytes in larger units too."""
    if isinstance(value, frozenset | tuple):
        return f"`{','.join(str(item) for item in sorted(value))}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if name.endswith("_bytes"):
        mebibytes = value // MEBIBYTE
        amount = f"{mebibytes} MiB" if mebibytes % 1024 else f"{mebibytes // 1024} GiB"
        return f"`{value}` ({amount})"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


_SOURCE = inspect.getsource(Settings)
_MEANINGS = _meanings()

if __name__ == "__main__":
    print(page(), end="")
