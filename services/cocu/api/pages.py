"""Pages of lists: from what the catalog gives to what goes over the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Query

from cocu.api import cursors
from cocu.client import models
from cocu.storage.catalog.records import Page

Record = TypeVar("Record")
Item = TypeVar("Item", bound=models.Answer)

Limit = Annotated[int, Query(ge=1, le=1000, description="The most items of one page.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=8192,
        description="`next` of the page before; none for the first page.",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},
    ),
]


def position(listing: str, cursor: str | None) -> str | None:
    """Where a list goes on; raises InvalidInputError for a cursor of another list."""
    return None if cursor is None else cursors.decode(listing, cursor)


def page(
    listing: str, records: Page[Record], item: Callable[[Record], Item], model: type[Item]
) -> models.Page[Item]:
    """A page of the wire from a page of the catalog."""
    following = None if records.next is None else cursors.encode(listing, records.next)
    return models.Page[model](items=[item(record) for record in records.items], next=following)  # type: ignore[valid-type]
