"""Output of commands: tables and bars for users, JSON for programs, errors on standard error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console, ConsoleDimensions
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

UNLIMITED_WIDTH = 100_000


class Output(Console):
    """Standard output: as wide as the terminal; in a pipe or file so wide that nothing is folded or cut."""

    @property  # type: ignore[misc, unused-ignore]
    def size(self) -> ConsoleDimensions:  # type: ignore[override, unused-ignore]
        """Columns and rows."""
        size = super().size
        return size if self.is_terminal else ConsoleDimensions(UNLIMITED_WIDTH, size.height)


console = Output(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(value: BaseModel | Mapping[str, Any] | Iterable[BaseModel]) -> None:
    """Print a model or a mapping as JSON; several models as one JSON document per line."""
    if isinstance(value, BaseModel):
        print(value.model_dump_json(by_alias=True))
    elif isinstance(value, Mapping):
        print(json.dumps(value, ensure_ascii=False, default=_plain))
    else:
        for model in value:
            print_json(model)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    return str(value)


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table with columns of numbers aligned right, all others left.

    Ids are never broken: if there is too little space, other columns are folded.
    """
    cells = [[cell if isinstance(cell, str) else str(cell) for cell in row] for row in rows]
    result = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    for position, column in enumerate(columns):
        values = [row[position] for row in cells]
        numbers = any(map(_is_number, values)) and all(
            _is_number(cell) or cell in EMPTY_CELLS for cell in values
        )
        unbroken = numbers or column in UNBROKEN_COLUMNS
        result.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=unbroken)
    for row in cells:
        result.add_row(*row)
    return result


EMPTY_CELLS = ("", "–")
UNBROKEN_COLUMNS = ("id", "curation", "dataset", "created", "hash")
"""Columns whose values users copy and pipe, so they must stay in one piece."""
_NUMBER = re.compile(r"[+-]?[\d,]+(\.\d+)?( (s|min|h|GiB|MiB))*|\d+ h \d+ min")


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def join_first(texts: Sequence[str], limit: int = 10) -> str:
    """The first texts of a list in one line, with … if there are more.

    >>> join_first(["a", "b", "c"], 2)
    'a, b, …'
    """
    return ", ".join([*texts[:limit], *(["…"] if len(texts) > limit else [])])


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2,000 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def upload_bar() -> Progress:
    """A bar over bytes, on standard error, so that standard output contains only results."""
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=errors,
    )


def stage_bars() -> Progress:
    """Bars over samples or other units, one per stage."""
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
    )
