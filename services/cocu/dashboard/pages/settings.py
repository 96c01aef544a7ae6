"""Settings: what this browser prefers. They are cookies, so that the first paint is right."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cocu.dashboard.forms import form_of
from cocu.dashboard.rendering import THEMES, Crumb, Renderer

YEAR_SECONDS = 365 * 24 * 3600


async def show(request: Request) -> Response:
    """The page."""
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request, "settings.html", title="Settings", crumbs=[Crumb("Overview", "/"), Crumb("Settings")]
    )


async def set_theme(request: Request) -> Response:
    """Keep the theme, and go back to where it was chosen."""
    form = await form_of(request)
    theme = str(form.get("theme", "system"))
    response = RedirectResponse(_own_path(str(form.get("back", ""))), status_code=303)
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=YEAR_SECONDS, httponly=True, samesite="lax")
    return response


def _own_path(back: str) -> str:
    """A path of this origin; never another's, whatever a form was made to send."""
    parts = urlsplit(back)
    is_own = back.startswith("/") and not back.startswith(("//", "/\\")) and not parts.netloc
    return back if is_own and back.isprintable() else "/"
