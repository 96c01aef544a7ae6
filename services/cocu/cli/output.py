"""How commands print: tables and bars for people, JSON for programs, errors on the error stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(value: BaseModel | Mapping[str, Any] | Iterable[BaseModel]) -> None:
    """Print models or a mapping as JSON; many models as one JSON document a line."""
    if isinstance(value, BaseModel):
        print(value.model_dump_json(by_alias=True))
    elif isinstance(value, Mapping):
        print(json.dumps(value, ensure_ascii=False, default=_plain))
    else:
        for each in value:
            print_json(each)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    return str(value)


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    for position, column in enumerate(columns):
        made.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(each if isinstance(each, str) else str(each) for each in row))
    return made


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2,000 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def upload_bar() -> Progress:
    """A bar over bytes, on the error stream so that output stays clean."""
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=errors,
    )


def stage_bars() -> Progress:
    """A bar per stage over its units of work."""
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
    )
