"""Lists of samples: by key, in the order of rows, by words of their captions, or those of given rows.

A page costs the rows that it shows: whole columns of a shard from the cache, or a few rows of its table. With
words it also costs a millisecond per shard whose captions have been looked through before. The first time
they are read and split into words, so a request does that for a few shards, and ends its page early.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cocu import schemas
from cocu.api.queries.caption_words import CaptionWords
from cocu.api.queries.samples import Samples
from cocu.api.queries.shard_order import ShardOrder
from cocu.catalog import samples
from cocu.catalog.records import Page
from cocu.errors import InvalidInputError
from cocu.platform import Platform

MAX_SHARDS = 200
"""The most shards whose captions one request looks through."""
MAX_NEW_SHARDS = 4
"""Those among them whose captions were not read yet: 40,000 captions."""


@dataclass(frozen=True)
class _Place:
    """A row of a shard, where a list goes on; it stays right while the dataset grows."""

    shard_id: str
    row: int

    def __str__(self) -> str:
        return f"{self.row} {self.shard_id}"

    @classmethod
    def parse(cls, text: str) -> _Place:
        row, _, shard_id = text.partition(" ")
        return cls(shard_id, int(row))


class SampleLists:
    """Lists of the samples of every dataset of a platform."""

    def __init__(self, platform: Platform, samples_: Samples) -> None:
        self._catalog = platform.catalog
        self._samples = samples_
        self._captions = CaptionWords(platform.objects)

    def by_key(self, *, tenant: str, dataset: str, limit: int, after: str | None) -> Page[schemas.Sample]:
        """Return samples of a dataset, sorted by key; `after` is a key."""
        page = samples.list_page(self._catalog, tenant=tenant, dataset_id=dataset, limit=limit, after=after)
        places = [_Place(record.shard_id, record.row) for record in page.items]
        return Page(items=self._at(dataset, self._order(tenant, dataset), places), next=page.next)

    def by_row(
        self,
        *,
        tenant: str,
        dataset: str,
        limit: int,
        first_row: int = 0,
        after: str | None = None,
        words: Sequence[str] = (),
    ) -> Page[schemas.Sample]:
        """Return samples of a dataset in the order of their rows.

        first_row: the global row to begin with; after the last one there is nothing. after: `next` of the
        page before, in place of it. words: of `caption_words.split`; the captions have all of them, and a
        page with a `next` can be short or even empty. Raises InvalidInputError where the shard to go on with
        is gone.
        """
        order = self._order(tenant, dataset)
        if after is None:
            if first_row >= order.samples:
                return Page(items=(), next=None)
            start = _Place(*order.locate(first_row))
        else:
            start = _Place.parse(after)
        places, following = self._walk(dataset, order, start, limit, words)
        items = self._at(dataset, order, places)
        return Page(items=items, next=None if following is None else str(following))

    def of_rows(self, *, tenant: str, dataset: str, rows: Sequence[int]) -> Sequence[schemas.Sample]:
        """Return the samples of these global rows, in this order.

        Raises InvalidInputError for a row that the dataset does not have.
        """
        order = self._order(tenant, dataset)
        if rows and max(rows) >= order.samples:
            raise InvalidInputError(
                f"There is no row {max(rows):,} in this dataset.",
                {"query.rows": f"the dataset has {order.samples:,} samples; the first one is row 0"},
            )
        return self._at(dataset, order, [_Place(*order.locate(row)) for row in rows])

    def _order(self, tenant: str, dataset: str) -> ShardOrder:
        return ShardOrder(samples.shards(self._catalog, tenant=tenant, dataset_id=dataset))

    def _walk(
        self, dataset: str, order: ShardOrder, begin: _Place, limit: int, words: Sequence[str]
    ) -> tuple[list[_Place], _Place | None]:
        """Return at most `limit` places from `begin` on, and where to go on; None at the end."""
        number = order.number_of(begin.shard_id)
        if number is None:
            raise InvalidInputError(
                "The samples of this dataset have changed.", {"query.cursor": "begin again without it"}
            )
        places: list[_Place] = []
        new_shards = 0
        for walked, shard in enumerate(order.shards_from(number)):
            here = begin if walked == 0 else _Place(shard.id, 0)
            if words:
                is_new = not self._captions.is_read(dataset, shard.id)
                if walked == MAX_SHARDS or (is_new and new_shards == MAX_NEW_SHARDS) or len(places) == limit:
                    return places, here
                new_shards += is_new
                rows = self._captions.rows(dataset, shard.id, words)
                rows = rows[rows >= here.row]
            else:
                rows = np.arange(here.row, shard.samples)
            room = limit - len(places)
            places += [_Place(shard.id, row) for row in rows[:room].tolist()]
            if len(rows) > room:
                return places, _Place(shard.id, int(rows[room]))
        return places, None

    def _at(self, dataset: str, order: ShardOrder, places: Iterable[_Place]) -> tuple[schemas.Sample, ...]:
        """Return the samples at these places, each shard read once."""
        places = list(places)
        rows_by_shard: dict[str, list[int]] = {}
        for place in places:
            rows_by_shard.setdefault(place.shard_id, []).append(place.row)
        values: dict[_Place, Mapping[str, Any]] = {}
        for shard_id, rows in rows_by_shard.items():
            taken = self._samples.rows(dataset, shard_id, rows)
            values |= {_Place(shard_id, row): row_values for row, row_values in zip(rows, taken, strict=True)}
        return tuple(
            self._samples.sample(
                dataset,
                place.shard_id,
                place.row,
                values[place],
                global_row=order.global_row(place.shard_id, place.row),
            )
            for place in places
        )
