"""The place of the dashboard among the routes of the API: last, and never at a path of the API."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Scope


class DashboardRoute(Mount):
    """Leads every path to the dashboard whose first segment is none of the API's.

    Paths below these stay the API's: what it does not have is a problem there, and no page.
    """

    def __init__(self, dashboard: ASGIApp, paths: Iterable[str]) -> None:
        super().__init__("/", dashboard, name="dashboard")
        self._of_api = {path.split("/")[1] for path in paths}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is the dashboard's."""
        if scope["path"].lstrip("/").split("/")[0] in self._of_api:
            return Match.NONE, {}
        return super().matches(scope)
