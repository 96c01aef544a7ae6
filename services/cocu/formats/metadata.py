"""JSON of strangers → metadata that is safe to keep."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cocu.formats.captions import storable
from cocu.formats.limits import Limits
from cocu.formats.notes import NAMES_REPEATED

METADATA_MARK = b"cocu.metadata"
"""Key in a Parquet file's schema; its value names the column with all metadata of a sample, as JSON."""

_DEEPEST = 32
_MOST_DIGITS = 4_300
"""Of an integer; Python refuses to read more by default."""


def parse_metadata(raw: bytes | str) -> dict[str, Any]:
    """A JSON object of moderate depth; {} for anything else. See `parse_json`."""
    try:
        value = parse_json(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def parse_json(raw: bytes | str, repeated: Counter[str] | None = None) -> object:
    """A JSON value. Raises ValueError where it is none, or is nested deeper than 32 lists and objects.

    Numbers that JSON or Python does not have (NaN, 1e999, thousands of digits) become null. Of a name that an
    object has twice the last value is used, as most parsers do; `repeated` counts such objects.
    """

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if repeated is not None and len(unique) < len(pairs):
            repeated[NAMES_REPEATED] += 1
        return unique

    try:
        value = json.loads(
            raw,
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=fields,
        )
    except RecursionError:
        value = None
        deep = True
    else:
        deep = not _is_shallow(value, _DEEPEST)
    if deep:
        raise ValueError(f"deeper than {_DEEPEST} lists and objects")
    return value


def row_metadata(row: Mapping[str, object], limits: Limits) -> dict[str, Any]:
    """The plain values of a table's row; {} where they are larger than the limit of metadata."""
    kept: dict[str, Any] = {}
    size = 0
    for name, cell in row.items():
        if isinstance(cell, float) and not math.isfinite(cell):
            continue
        value = storable(cell) if isinstance(cell, str) else cell
        if isinstance(value, str | int | float | bool):
            size += len(name) + len(str(value))
            kept[storable(name)] = value
    return kept if size <= limits.max_metadata_bytes else {}


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MOST_DIGITS else None


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _is_shallow(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in value)
