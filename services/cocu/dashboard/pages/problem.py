"""Errors as pages: what was wrong, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cocu.client import ClientError, ConnectionFailedError, NotFoundError, ProblemError
from cocu.dashboard.forms import fields_of, sentence
from cocu.dashboard.rendering import Crumb, Renderer


@dataclass(frozen=True)
class Problem:
    """An error as people see it."""

    title: str
    detail: str
    fields: tuple[tuple[str, str], ...] = ()
    may_pass: bool = False


ABSENT = Problem(
    "Nothing is here",
    "The address leads to nothing, or to something that was deleted. The overview lists everything.",
)


async def client_error(request: Request, error: Exception) -> Response:
    """The page for an error of the platform, with its status."""
    assert isinstance(error, ClientError)
    if isinstance(error, NotFoundError):
        return render(request, ABSENT, 404)
    if isinstance(error, ProblemError):
        problem = error.problem
        status = 502 if problem.status >= 500 and problem.status != 503 else problem.status
        return render(
            request,
            Problem(
                problem.title, sentence(problem.detail), fields_of(problem), problem.status in {429, 503}
            ),
            status,
        )
    if isinstance(error, ConnectionFailedError):
        detail = (
            "The dashboard runs, but the platform behind it does not answer. It is asked again in a moment."
        )
        return render(request, Problem("The platform does not answer", detail, may_pass=True), 503)
    return render(request, Problem("The platform answered something unexpected", str(error)), 502)


async def http_error(request: Request, error: Exception) -> Response:
    """The page for a path or a method that the dashboard does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return render(request, ABSENT, 404)
    shown = Problem(str(error.detail), "The dashboard cannot do that.")
    if error.status_code == 413:
        shown = Problem("This is too large", f"{error.detail} Go back: your browser has kept what you wrote.")
    response = render(request, shown, error.status_code)
    response.headers.update(error.headers or {})
    return response


def render(request: Request, problem: Problem, status: int) -> Response:
    """The page of a problem."""
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "problem.html",
        status=status,
        title=problem.title,
        crumbs=[Crumb("Overview", "/"), Crumb(problem.title)],
        problem=problem,
    )
