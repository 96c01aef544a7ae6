"""The time of the database: leases and dates use one clock, even where clocks of workers are wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Dialect, Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """A moment, stored as seconds since 1970, so that both databases can compare and add; read in UTC."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        """To seconds."""
        return None if value is None else value.timestamp()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """To a datetime in UTC."""
        return None if value is None else datetime.fromtimestamp(float(value), UTC)


class database_seconds(ColumnElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """Seconds since 1970 by the clock of the database, with fractions."""

    inherit_cache = True
    type = Double()


@compiles(database_seconds, "sqlite")
def _sqlite_seconds(element: database_seconds, compiler: Any, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_seconds, "postgresql")
def _postgresql_seconds(element: database_seconds, compiler: Any, **options: Any) -> str:
    # Not now(), which stands still inside a transaction; not clock_timestamp(), which prevents index use.
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"
