"""Templates: one Jinja environment, how numbers and times are written, and the answer to a request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

THIN_SPACE: Final = "\u202f"
THEMES: Final = ("system", "light", "dark")
_AGES: Final = (
    (60.0, 1.0, "just now"),
    (3600.0, 60.0, "min"),
    (86400.0, 3600.0, "h"),
    (30 * 86400.0, 86400.0, "d"),
    (math.inf, 30 * 86400.0, "months"),
)


@dataclass(frozen=True)
class Crumb:
    """A step of the way to a page: its name and its path; None for the page itself."""

    name: str
    path: str | None = None


class Renderer:
    """Renders the pages of a dashboard.

    Every reference on a page is relative to the page, so that it is right below every path at which a proxy
    may serve the dashboard, told or not.
    """

    def __init__(self, *, static: str, documentation: str | None, has_training: bool = False) -> None:
        self._static = static
        self.environment = Environment(
            loader=PackageLoader("cocu.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals |= {
            "documentation": documentation,
            "has_training": has_training,
            "themes": THEMES,
        }
        self.environment.filters |= {
            "count": count,
            "number": number,
            "figure": figure,
            "signed": signed,
            "score": score,
            "percent": percent,
            "bytes": size,
            "age": age,
            "duration": duration,
            "rate": rate,
            "exact": lambda time: time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        }

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """The page as an answer. values: what the template shows; `crumbs` and `title` always."""
        theme = request.cookies.get("theme", "system")
        here: str = request.scope["path"]

        def url(path: str) -> str:
            return relative(here, path)

        def own(link: str) -> str:
            # A link of the client is that of the API as the dashboard reaches it; the browser has one origin.
            parts = urlsplit(link)
            return url(parts.path + (f"?{parts.query}" if parts.query else ""))

        content = self.environment.get_template(template).render(
            theme=theme if theme in THEMES else "system",
            back=here + (f"?{request.url.query}" if request.url.query else ""),
            url=url,
            own=own,
            static=lambda name: url(f"{self._static}/{name}"),
            **values,
        )
        headers = {"Cache-Control": "no-cache", "Vary": "HX-Request, Cookie"}
        return HTMLResponse(content, status_code=status, headers=headers)


def relative(here: str, path: str) -> str:
    """A path of the dashboard, relative to the page at `here`.

    >>> relative("/curations/c/archives", "/datasets/d"), relative("/", "/"), relative("/settings", "/")
    ('../../datasets/d', './', './')
    """
    return "../" * (here.count("/") - 1) + path.removeprefix("/") or "./"


def count(value: int) -> str:
    """A whole number with thin spaces between thousands.

    >>> count(12345678)
    '12\u202f345\u202f678'
    """
    return f"{value:,}".replace(",", THIN_SPACE)


def number(value: float | None, digits: int = 2) -> str:
    """A number with a minus sign, and with so many digits after the point; none is a dash."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "\u2212")


def score(value: float) -> str:
    """A score as people say it: with the digits that it has, and a minus sign.

    >>> score(-2.5), score(3.0)
    ('\u22122.5', '3')
    """
    return f"{value:.6g}".replace("-", "\u2212")


def figure(value: float) -> str:
    """A figure with at most three significant digits, and thin spaces between thousands.

    >>> figure(0.123456), figure(-12345.6), figure(3.2e-05)
    ('0.123', '\u221212\u202f346', '3.2e\u22125')
    """
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}".replace(",", THIN_SPACE)
    else:
        text = f"{value:.3g}"
    return text.replace("-", "\u2212")


def signed(value: float, digits: int = 0) -> str:
    """A difference, with its sign.

    >>> signed(1234), signed(-0.25, 2)
    ('+1\u202f234', '\u22120.25')
    """
    text = f"{value:+,.{digits}f}".replace(",", THIN_SPACE)
    return text.replace("-", "\u2212")


def percent(value: float | None, digits: int = 0) -> str:
    """A share as a percentage; none is a dash."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}{THIN_SPACE}%"


def size(value: float | None) -> str:
    """A number of bytes, in the unit that leaves one to four digits."""
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return (
                f"{value:.0f}{THIN_SPACE}{unit}"
                if value >= 10 or unit == "B"
                else f"{value:.1f}{THIN_SPACE}{unit}"
            )
        value /= 1000
    return f"{value:.1f}{THIN_SPACE}TB"


def age(time: datetime) -> str:
    """How long ago a time was, in one unit."""
    seconds = max(0.0, (datetime.now(UTC) - time.astimezone(UTC)).total_seconds())
    for below, unit, name in _AGES:
        if seconds < below:
            return name if name == "just now" else f"{seconds // unit:.0f}{THIN_SPACE}{name} ago"
    raise AssertionError("every age is below infinity")


def rate(per_second: float) -> str:
    """A rate of samples.

    >>> rate(92.4), rate(0.25)
    ('92\u202f/s', '0.25\u202f/s')
    """
    return f"{count(round(per_second)) if per_second >= 10 else f'{per_second:.2g}'}{THIN_SPACE}/s"


def duration(seconds: float | None) -> str:
    """A span of time for people; none is not known."""
    if seconds is None:
        return "not known yet"
    if seconds < 90:
        return f"{max(1, round(seconds))}{THIN_SPACE}s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)}{THIN_SPACE}min"
    return f"{seconds / 3600:.1f}{THIN_SPACE}h"
