"""JSON that loses nothing when it is read: no name twice in an object, no NaN and no infinity."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse_strict(text: str) -> Any:
    """Parse JSON of which every value is kept; `json.loads` keeps the last of several values of one name.

    Raises:
        ValueError: the text is not JSON, or too deep, or has a name twice in an object, or NaN or Infinity.
    """
    try:
        return json.loads(
            text.removeprefix("\ufeff"), object_pairs_hook=_unrepeated, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"{name!r} is there twice in one object; keep one of them")
        fields[name] = value
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name} is no number of JSON; write null")
