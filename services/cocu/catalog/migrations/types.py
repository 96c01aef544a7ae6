"""Types of columns as migrations write them: a released migration imports nothing that may move or change."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Dialect, Double
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """A moment, stored as seconds since 1970."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        """To seconds."""
        return None if value is None else value.timestamp()
