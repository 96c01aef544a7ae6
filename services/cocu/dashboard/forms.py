"""Forms of the pages: their fields, what is wrong with them in words, and who fills them in."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

from pydantic import ValidationError
from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import Response

from cocu.client import InvalidInputError

_AUTHOR: Final = "author"
"""The cookie with the name that somebody gave last."""
_YEAR_SECONDS: Final = 365 * 24 * 3600


def text_of(values: FormData | QueryParams, name: str, *, strip: bool = True) -> str:
    """A field; empty where it is absent, or a file."""
    value = values.get(name)
    if not isinstance(value, str):
        return ""
    return value.strip() if strip else value


def explain(error: InvalidInputError | ValidationError) -> str:
    """What the platform, or its client, says against what was sent."""
    if isinstance(error, InvalidInputError):
        return " ".join([error.problem.detail, *(field.problem for field in error.problem.errors)])
    return " ".join(f"{part['loc'][-1] if part['loc'] else 'it'}: {part['msg']}." for part in error.errors())


def author_of(request: Request) -> str:
    """The name that the viewer gave last."""
    return unquote(request.cookies.get(_AUTHOR, ""))


def remember_author(response: Response, form: FormData) -> None:
    """Keep the name that a form gives, if it does, for the next form."""
    if author := text_of(form, "author"):
        response.set_cookie(_AUTHOR, quote(author), max_age=_YEAR_SECONDS, httponly=True, samesite="lax")
