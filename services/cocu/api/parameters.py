"""Refusal of unknown query parameters: ignored ones would hide mistakes, as a misspelt filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError


async def check_query(request: Request) -> None:
    """Refuse query parameters that the OpenAPI document does not have; a dependency of every operation.

    Also refuse a parameter that is given twice but is no list. Raises RequestValidationError.
    """
    if not request.scope["query_string"]:
        return
    known = _known(request)
    counts = Counter(name for name, _ in request.query_params.multi_items())
    problems = [
        {"type": "unknown_parameter", "loc": ("query", name), "msg": problem}
        for name, count in counts.items()
        if (problem := _problem(name, count, known)) is not None
    ]
    if problems:
        raise RequestValidationError(problems)


def _known(request: Request) -> Mapping[str, bool]:
    """Return the parameters of the operation, and for each whether it may be given several times."""
    path = request.app.openapi_schema["paths"].get(request.scope["route"].path_format, {})
    parameters: list[dict[str, Any]] = path.get(request.method.lower(), {}).get("parameters", [])
    return {
        parameter["name"]: parameter["schema"].get("type") == "array"
        for parameter in parameters
        if parameter["in"] == "query"
    }


def _problem(name: str, count: int, known: Mapping[str, bool]) -> str | None:
    if name in known:
        return None if count == 1 or known[name] else f"is given {count} times; give it once"
    if not known:
        return "is not known here; remove it; there are no parameters here"
    suggestions = get_close_matches(name.lower(), known, cutoff=0.5)
    if suggestions:
        return f"is not known here; remove it, or did you mean {' or '.join(suggestions)}?"
    return f"is not known here; remove it; there are {', '.join(sorted(known))}"
