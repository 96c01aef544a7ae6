"""Lists of archives, whole or as cards, in several orders, and what is adjacent in a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cocu import schemas
from cocu.api.queries.archive_pages import Listing, Place, find_page, find_surroundings, locate
from cocu.api.queries.archives import Archives
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.filters import ArchiveFilter
from cocu.api.queries.samples import Samples
from cocu.api.queries.verdicts import with_verdicts
from cocu.catalog import samples
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.records import Page
from cocu.errors import NotFoundError
from cocu.platform import Platform

BEST_ADDED = 5

Item = TypeVar("Item")


class ArchiveLists:
    """Lists of the archives of every curation of a platform."""

    def __init__(self, platform: Platform, samples_: Samples, concepts: Concepts, archives: Archives) -> None:
        self._platform = platform
        self._samples = samples_
        self._concepts = concepts
        self._archives = archives

    def list_page(
        self,
        record: CurationRecord,
        *,
        archive_filter: ArchiveFilter,
        order: schemas.ArchiveOrder,
        limit: int,
        after: str | None,
    ) -> Page[schemas.Archive]:
        """Return the selected archives in this order, from behind `after` (the `next` of a page).

        Raises InvalidInputError for a concept that the vocabulary does not have, and for an order by score
        without a concept.
        """
        listing = Listing.of(self._concepts, record, archive_filter, order)
        return self._page(record, listing, limit, after, lambda places: self._whole(record, listing, places))

    def list_cards(
        self,
        record: CurationRecord,
        *,
        archive_filter: ArchiveFilter,
        order: schemas.ArchiveOrder,
        limit: int,
        after: str | None,
    ) -> Page[schemas.ArchiveCard]:
        """Return the same as cards, without reading an archive. Raises as `list_page`."""
        listing = Listing.of(self._concepts, record, archive_filter, order)
        return self._page(
            record,
            listing,
            limit,
            after,
            lambda places: [self._card(record, listing, shard, row) for shard, row in places],
        )

    def adjacent(
        self, record: CurationRecord, key: str, *, archive_filter: ArchiveFilter, order: schemas.ArchiveOrder
    ) -> schemas.AdjacentArchives:
        """Return what stands before and after an archive in a list.

        Raises NotFoundError for a key without an archive, else as `list_page`.
        """
        listing = Listing.of(self._concepts, record, archive_filter, order)
        sample = samples.find(
            self._platform.catalog, tenant=record.tenant, dataset_id=record.dataset_id, key=key
        )
        shards = self._concepts.archived_shards(record)
        shard = next((shard for shard in shards if shard.shard_id == sample.shard_id), None)
        if shard is None:
            raise NotFoundError(
                f"curation {record.id} has no archive of {key!r}: it was uploaded later, or failed"
            )
        around = find_surroundings(self._concepts, record, listing, shard, sample.row)
        return schemas.AdjacentArchives(
            previous=self._key(record, around.previous),
            next=self._key(record, around.next),
            position=None if around.position is None else around.position + 1,
            total=around.total,
        )

    def _page(
        self,
        record: CurationRecord,
        listing: Listing,
        limit: int,
        after: str | None,
        show: Callable[[list[tuple[CurationShardRecord, int]]], list[Item]],
    ) -> Page[Item]:
        begin = None if after is None else Place.from_text(after)
        part = find_page(self._concepts, record, listing, limit=limit, after=begin)
        shards = self._concepts.archived_shards(record)
        items = show([locate(shards, position.row) for position in part.places])
        return Page(items=tuple(items), next=None if part.next is None else part.next.to_text())

    def _whole(
        self, record: CurationRecord, listing: Listing, places: list[tuple[CurationShardRecord, int]]
    ) -> list[schemas.Archive]:
        archives = self._archives.at(record, places)
        if listing.judged is None:
            return archives
        return [
            with_verdicts(archive, self._concepts.index(record, shard), listing.judged, shard, row)
            for archive, (shard, row) in zip(archives, places, strict=True)
        ]

    def _card(
        self, record: CurationRecord, listing: Listing, shard: CurationShardRecord, row: int
    ) -> schemas.ArchiveCard:
        index, names = self._concepts.index(record, shard), self._concepts.names(record)
        part = index.archive(row)
        concepts = index.concepts_C[part].tolist()
        scores, added = index.scores_C[part].tolist(), index.added_C[part].astype(bool).tolist()
        verdicts = _verdicts(listing, shard, part)
        ranked = list(zip(concepts, scores, added, verdicts, strict=True))
        best = [values for values in ranked if values[2]][:BEST_ADDED]
        by_concept = {concept: values for concept, *values in ranked}
        key, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        return schemas.ArchiveCard(
            key=key,
            caption=caption,
            concepts=len(ranked),
            gain=sum(added),
            best_added=[
                schemas.ScoredConcept(concept=names[concept], score=score, verdict=verdict)
                for concept, score, _, verdict in best
            ],
            asked=[
                schemas.AskedConcept(
                    concept=names[concept],
                    score=by_concept[concept][0],
                    added=by_concept[concept][1],
                    verdict=by_concept[concept][2],
                )
                for concept in listing.filters.archive
            ],
            missed=None if listing.judged is None else listing.judged.missed(shard, row),
            **self._samples.image_paths(record.dataset_id, shard.shard_id, row),
        )

    def _key(self, record: CurationRecord, row: int | None) -> str | None:
        if row is None:
            return None
        shard, local_row = locate(self._concepts.archived_shards(record), row)
        return self._samples.key_and_caption(record.dataset_id, shard.shard_id, local_row)[0]


def _verdicts(listing: Listing, shard: CurationShardRecord, part: slice) -> Sequence[schemas.Verdict | None]:
    """Return the verdicts of the entries of an archive; None for all where no labels were asked for."""
    if listing.judged is None:
        return [None] * (part.stop - part.start)
    verdicts = listing.judged.shard(shard)
    return [verdicts.verdict(entry) for entry in range(part.start, part.stop)]
