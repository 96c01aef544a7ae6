"""Judgements of added concepts: kept, dealt, and summed up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from cocu import schemas
from cocu.api.queries.archive_pages import locate
from cocu.api.queries.archives import Archives
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.decks import Decks
from cocu.api.queries.samples import Samples
from cocu.catalog import judgements
from cocu.catalog.curations import CurationRecord
from cocu.catalog.judgements import JudgementRecord
from cocu.catalog.records import Page
from cocu.curation.audit import Deck, Stratum, estimate_precision
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform

EXPORTED = 1_000
"""Judgements that are read at a time for an export."""


class Judgements:
    """The judgements of every curation of a platform."""

    def __init__(self, platform: Platform, samples: Samples, concepts: Concepts, archives: Archives) -> None:
        self._platform = platform
        self._samples = samples
        self._concepts = concepts
        self._archives = archives
        self._decks = Decks(platform, concepts)

    def store(
        self, record: CurationRecord, request: schemas.JudgementCreate
    ) -> tuple[schemas.Judgement, bool]:
        """Keep a judgement in place of the one before about its pair; return it, and whether it is the first.

        Raises InvalidInputError for a key without an archive, and a concept that this archive does not have.
        """
        concept_id = self._concepts.find(record, request.concept, field="body.concept")
        if "\0" in request.key:
            raise InvalidInputError("The curation has no such archive.", {"body.key": "keys hold no NUL"})
        try:
            row, entry, index = self._entry(record, request.key, concept_id)
        except NotFoundError as error:
            raise InvalidInputError("The curation has no such archive.", {"body.key": str(error)}) from error
        if entry is None:
            raise InvalidInputError(
                "The archive of this sample does not have the concept.",
                {"body.concept": "judge one of the concepts in GET /v1/curations/{id}/archives/{key}"},
            )
        stored, is_new = judgements.store(
            self._platform.catalog,
            tenant=record.tenant,
            curation_id=record.id,
            row=row,
            concept_id=concept_id,
            right=request.right,
            author=request.author,
            values={
                "key": request.key,
                "concept": self._concepts.names(record)[concept_id],
                "score": float(index.scores_C[entry]),
                "added": bool(index.added_C[entry]),
                "dealt": self._decks.of(record).places.get((row, concept_id)),
            },
        )
        return _describe(record, stored), is_new

    def get(self, record: CurationRecord, key: str, concept: str) -> schemas.Judgement:
        """Return what was said about a concept of a sample. Raises NotFoundError where nothing was."""
        row, concept_id = self._pair(record, key, concept)
        return _describe(
            record,
            judgements.get(
                self._platform.catalog,
                tenant=record.tenant,
                curation_id=record.id,
                row=row,
                concept_id=concept_id,
            ),
        )

    def remove(self, record: CurationRecord, key: str, concept: str) -> None:
        """Forget what was said about a concept of a sample. Raises NotFoundError without these."""
        row, concept_id = self._pair(record, key, concept)
        judgements.remove(
            self._platform.catalog,
            tenant=record.tenant,
            curation_id=record.id,
            row=row,
            concept_id=concept_id,
        )

    def list_page(self, record: CurationRecord, *, limit: int, after: str | None) -> Page[schemas.Judgement]:
        """Return the judgements of a curation, in the order of its samples."""
        page = judgements.list_page(
            self._platform.catalog, tenant=record.tenant, curation_id=record.id, limit=limit, after=after
        )
        return Page(items=tuple(_describe(record, stored) for stored in page.items), next=page.next)

    def all(self, record: CurationRecord) -> Iterator[schemas.Judgement]:
        """Yield all judgements of a curation, in the order of its samples; a part at a time is in memory."""
        after = None
        while True:
            page = self.list_page(record, limit=EXPORTED, after=after)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def deal(self, record: CurationRecord, count: int) -> schemas.AuditPairs:
        """Return the pairs to judge next: the first that nobody judged.

        Reads the deck, a row of the catalog for each pair of it that is judged, and the captions of `count`
        samples, whatever the size of the dataset.
        """
        deck = self._decks.of(record).deck
        answers = self._answers(record)
        turns = (turn for turn in range(len(deck.rows_D)) if turn not in answers)
        return schemas.AuditPairs(
            items=[self._pair_at(record, deck, turn) for turn in islice(turns, count)],
            dealt=len(deck.rows_D),
            judged=len(answers),
        )

    def sum_up(self, record: CurationRecord, *, wished: float | None) -> schemas.JudgementSummary:
        """Return what the judgements say of all added concepts; see `curation.audit` for the estimates."""
        deck = self._decks.of(record).deck
        counts = judgements.count(self._platform.catalog, tenant=record.tenant, curation_id=record.id)
        bins = _sum_up_bins(deck, self._answers(record))
        by_threshold = [_precision_from(bins[first:]) for first in range(len(bins))]
        reached = None
        # The lowest of the scores is known only when every bin has a judgement.
        if wished is not None and by_threshold and by_threshold[0].precision is not None:
            reached = next(
                (
                    estimate
                    for estimate in by_threshold
                    if estimate.precision is not None and estimate.precision >= wished
                ),
                None,
            )
        return schemas.JudgementSummary(
            curation=record.id,
            judgements=sum(counts.values()),
            right=counts.get(True, 0),
            wrong=counts.get(False, 0),
            unsure=counts.get(None, 0),
            counted=sum(bin_.judged for bin_ in bins),
            bins=bins,
            overall=by_threshold[0] if by_threshold else None,
            by_threshold=by_threshold,
            wished=wished,
            reached=reached,
        )

    def _answers(self, record: CurationRecord) -> dict[int, bool | None]:
        return judgements.dealt(self._platform.catalog, tenant=record.tenant, curation_id=record.id)

    def _entry(self, record: CurationRecord, key: str, concept_id: int) -> tuple[int, int | None, Any]:
        """The row of a sample in the snapshot, the entry of a concept of it, and the index it is in."""
        stored = self._archives.find(record, key)
        index = self._concepts.index(record, stored.shard)
        part = index.archive(stored.row)
        concepts = index.concepts_C[part].tolist()
        entry = part.start + concepts.index(concept_id) if concept_id in concepts else None
        return stored.shard.first_row + stored.row, entry, index

    def _pair(self, record: CurationRecord, key: str, concept: str) -> tuple[int, int]:
        concept_id = self._platform.vocabularies.of_hash(record.vocabulary_hash).find(concept)
        if concept_id is None:
            raise NotFoundError("the vocabulary of this curation has no such concept")
        stored = self._archives.find(record, key)
        return stored.shard.first_row + stored.row, concept_id

    def _pair_at(self, record: CurationRecord, deck: Deck, turn: int) -> schemas.AuditPair:
        shards = self._concepts.archived_shards(record)
        shard, row = locate(shards, int(deck.rows_D[turn]))
        key, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        concept = self._concepts.names(record)[int(deck.concepts_D[turn])]
        return schemas.AuditPair(
            turn=turn + 1,
            key=key,
            caption=caption,
            concept=concept,
            score=float(deck.scores_D[turn]),
            **self._samples.image_paths(record.dataset_id, shard.shard_id, row),
        )


def _sum_up_bins(deck: Deck, answers: dict[int, bool | None]) -> list[schemas.ScoreBin]:
    counts = {bin_: {True: 0, False: 0, None: 0} for bin_ in range(len(deck.sizes_K))}
    open_bins = set(counts)
    for turn, bin_ in enumerate(deck.bins_D.tolist()):
        if bin_ not in open_bins:
            continue
        if turn not in answers:
            # What is judged behind the first that is not was chosen by somebody.
            open_bins.discard(bin_)
            continue
        counts[bin_][answers[turn]] += 1
    bins = []
    for bin_, bin_counts in counts.items():
        judged = bin_counts[True] + bin_counts[False]
        estimate = estimate_precision([Stratum(int(deck.sizes_K[bin_]), judged, bin_counts[True])])
        bins.append(
            schemas.ScoreBin(
                low=float(deck.edges_K1[bin_]),
                high=float(deck.edges_K1[bin_ + 1]),
                added=int(deck.sizes_K[bin_]),
                judged=judged,
                right=bin_counts[True],
                unsure=bin_counts[None],
                precision=None if estimate is None else estimate.precision,
                precision_low=None if estimate is None else estimate.low,
                precision_high=None if estimate is None else estimate.high,
            )
        )
    return bins


def _precision_from(bins: list[schemas.ScoreBin]) -> schemas.PrecisionFrom:
    estimate = estimate_precision(Stratum(bin_.added, bin_.judged, bin_.right) for bin_ in bins)
    return schemas.PrecisionFrom(
        score=bins[0].low,
        added=sum(bin_.added for bin_ in bins),
        judged=sum(bin_.judged for bin_ in bins),
        precision=None if estimate is None else estimate.precision,
        precision_low=None if estimate is None else estimate.low,
        precision_high=None if estimate is None else estimate.high,
    )


def _describe(record: CurationRecord, stored: JudgementRecord) -> schemas.Judgement:
    replaced = stored.replaced
    if replaced is not None:
        replaced = {**replaced, "created_at": datetime.fromtimestamp(replaced["created_at"], UTC)}
    return schemas.Judgement.model_validate(
        {
            "curation": record.id,
            "key": stored.key,
            "concept": stored.concept,
            "score": stored.score,
            "added": stored.added,
            "dealt": stored.dealt is not None,
            "right": stored.right,
            "author": stored.author,
            "replaced": replaced,
            "created_at": stored.created_at,
        }
    )
