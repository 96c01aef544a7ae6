"""Last-Event-ID: where a stream of events goes on."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from cocu.api.problems import BadRequestError


async def _last_event(
    last_event_id: Annotated[
        str | None,
        Header(
            description="The id of the event to continue after.",
            json_schema_extra={"pattern": "^[0-9]{1,18}$"},
        ),
    ] = None,
) -> int | None:
    if last_event_id is None:
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 18):
        raise BadRequestError(
            "Last-Event-ID must be the id of an event of this stream; leave it out to begin anew"
        )
    return int(last_event_id)


LastEvent = Annotated[int | None, Depends(_last_event)]
"""The id in the header, None without it. Raises BadRequestError for what is no id."""
