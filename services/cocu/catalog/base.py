"""What all tables of the catalog share: the base class, and the types of their columns."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cocu.catalog.db_time import Instant, database_seconds

Id = String(64)
Name = String(255)
State = String(32)

# SQLite numbers rows by itself only in a column declared INTEGER.
SerialNumber = BigInteger().with_variant(Integer(), "sqlite")


# Sorted by its bytes on both databases, whatever the locale of PostgreSQL: cursors compare keys.
Key = Text().with_variant(Text(collation="C"), "postgresql")


class Base(DeclarativeBase):
    """Declarative base; constraints are named so that migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # RUF012: SQLAlchemy reads it as a class attribute.
    type_annotation_map = {  # noqa: RUF012
        dict[str, Any]: JSON,
        datetime: Instant,
        str: Text,
        int: BigInteger,
    }


def created() -> Mapped[datetime]:
    """A column with the time at which its row was made."""
    return mapped_column(Instant, default=database_seconds())
