"""Pages of lists: from a page of the catalog to a page of the REST API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Query

from cocu import schemas
from cocu.api import cursors
from cocu.catalog.records import Page

Record = TypeVar("Record")
Item = TypeVar("Item", bound=schemas.ResponseModel)

Limit = Annotated[int, Query(ge=1, le=1000, description="The most items of one page.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=8192,
        description="`next` of the page before; none for the first page.",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},
    ),
]


def read_cursor(listing: str, cursor: str | None) -> str | None:
    """Return the position in a cursor. Raises InvalidInputError for a cursor of another list."""
    return None if cursor is None else cursors.decode(listing, cursor)


def make_page(
    listing: str, records: Page[Record], item: Callable[[Record], Item], model: type[Item]
) -> schemas.Page[Item]:
    """Return a page of the REST API from a page of the catalog."""
    cursor = None if records.next is None else cursors.encode(listing, records.next)
    return schemas.Page[model](items=[item(record) for record in records.items], next=cursor)  # type: ignore[valid-type]
