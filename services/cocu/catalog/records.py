"""What queries return: frozen dataclasses, filled from rows."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects import postgresql, sqlite

from cocu.catalog.base import Base

Record = TypeVar("Record")
Item = TypeVar("Item")

TEXT_LIMIT = 2_000


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list in order. `next` is the `after` of the following page, None on the last."""

    items: tuple[Item, ...]
    next: str | None


def new_id() -> str:
    """A new identity; later ones sort after earlier ones (to the millisecond)."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def columns(record: type[Any], model: type[Base]) -> list[Any]:
    """The columns of a table that a record holds, by name."""
    return [getattr(model, field.name) for field in fields(record)]


def select_record(record: type[Any], model: type[Base]) -> Select[Any]:
    """A query for the columns of a record."""
    return select(*columns(record, model))


def fetch_all(connection: Connection, record: type[Record], statement: Select[Any]) -> list[Record]:
    """Run a query whose columns are the fields of the record."""
    result = connection.execute(statement)
    names = list(result.keys())
    # By index, which is much faster than by name: a snapshot has thousands of rows.
    indices = [names.index(field.name) for field in fields(record)]  # type: ignore[arg-type]
    in_order = indices == list(range(len(names)))
    return [record(*(row if in_order else [row[index] for index in indices])) for row in result]


def fetch_one(
    connection: Connection,
    record: type[Record],
    statement: Select[Any],
    parameters: Mapping[str, Any] | None = None,
) -> Record | None:
    """The only row of such a query, or None.

    parameters: of a prepared query with `bindparam`; building a query takes longer than running it.
    """
    row = connection.execute(statement, parameters).mappings().one_or_none()
    return None if row is None else record(**row)


def insert_new(connection: Connection, model: type[Base], values: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique constraint forbids it; return whether it was inserted.

    Of several transactions that do this at the same time, one inserts and none raises. No constraint is named
    on purpose: where a row violates several, the database may check another one first and raise.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    inserted = dialect.insert(model).values(**values).on_conflict_do_nothing()
    return connection.execute(inserted.returning(model.__table__.c.id)).first() is not None


def page_of(items: Sequence[Item], limit: int, cursors: Sequence[str]) -> Page[Item]:
    """Make a page of up to `limit` items; a query fetches one more to know whether there is a next page."""
    more = len(items) > limit
    return Page(items=tuple(items[:limit]), next=cursors[limit - 1] if more else None)


def storable(text: str, limit: int = TEXT_LIMIT) -> str:
    """Make a text that every database accepts: valid UTF-8 without NUL, of at most `limit` characters."""
    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
