"""Forms of the pages: their fields, what is wrong with them in words, and who fills them in."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cocu.client import InvalidInputError, TooLargeError
from cocu.schemas import Problem

_AUTHOR: Final = "author"
"""The cookie with the name that somebody gave last."""
_YEAR_SECONDS: Final = 365 * 24 * 3600


async def form_of(request: Request, *, field_bytes: int = 1 << 20) -> FormData:
    """The form that was sent. Raises HTTPException (413) where a field is larger."""
    try:
        return await request.form(max_files=1, max_fields=200, max_part_size=field_bytes)
    except HTTPException as error:
        if "exceeded maximum size" not in error.detail:
            raise
        detail = f"A field of the form is larger than {field_bytes:,} bytes, which is the limit here."
        raise HTTPException(413, detail, {"Connection": "close"}) from error


def text_of(values: FormData | QueryParams, name: str, *, strip: bool = True) -> str:
    """A field; empty where it is absent, or a file."""
    value = values.get(name)
    if not isinstance(value, str):
        return ""
    return value.strip() if strip else value


def explain(error: InvalidInputError | TooLargeError | ValidationError) -> str:
    """What the platform, or its client, says against what was sent."""
    if isinstance(error, (InvalidInputError, TooLargeError)):
        return " ".join([error.problem.detail, *(text for _, text in fields_of(error.problem))])
    return " ".join(sentence(_problem_text(part)) for part in error.errors())


def fields_of(problem: Problem) -> tuple[tuple[str, str], ...]:
    """What the platform says against fields; a clause that names a call of the API is for programs."""
    fields = []
    for field in problem.errors:
        text = "; ".join(clause for clause in field.problem.split("; ") if "/v1/" not in clause)
        if text:
            fields.append((field.field.removeprefix("body.").removeprefix("query."), text))
    return tuple(fields)


def _problem_text(part: ErrorDetails) -> str:
    text = part["msg"].removeprefix("Value error, ")
    if part["type"] == "string_too_short":
        text = "nothing is entered"
    elif part["type"] == "string_too_long":
        text = f"longer than {part['ctx']['max_length']:,} characters"
    return f"{part['loc'][-1]}: {text}" if part["loc"] else text


def sentence(text: str) -> str:
    """A text of the API as a sentence of a page."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def author_of(request: Request) -> str:
    """The name that the viewer gave last."""
    return unquote(request.cookies.get(_AUTHOR, ""))


def remember_author(response: Response, form: FormData) -> None:
    """Keep the name that a form gives, if it does, for the next form."""
    if author := text_of(form, "author"):
        response.set_cookie(_AUTHOR, quote(author), max_age=_YEAR_SECONDS, httponly=True, samesite="lax")
