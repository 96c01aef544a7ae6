"""JSON of strangers → metadata that is safe to keep."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from cocu.datasets.captions import storable
from cocu.datasets.limits import Limits

METADATA_MARK = b"cocu.metadata"
"""Key in a Parquet file's schema; its value names the column with all metadata of a sample, as JSON."""

_DEEPEST = 32


def parse_metadata(raw: bytes | str) -> dict[str, Any]:
    """A JSON object of moderate depth; {} for anything else. Numbers that JSON does not have become null."""
    try:
        value = json.loads(raw, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and _is_shallow(value, _DEEPEST) else {}


def row_metadata(row: Mapping[str, object], limits: Limits) -> dict[str, Any]:
    """The plain values of a table's row; {} where they are larger than the limit of metadata."""
    kept: dict[str, Any] = {}
    size = 0
    for name, found in row.items():
        if isinstance(found, float) and not math.isfinite(found):
            continue
        value = storable(found) if isinstance(found, str) else found
        if isinstance(value, str | int | float | bool):
            size += len(name) + len(str(value))
            kept[storable(name)] = value
    return kept if size <= limits.max_metadata_bytes else {}


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _is_shallow(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in value)
