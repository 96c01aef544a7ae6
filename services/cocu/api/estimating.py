"""What a curation would cost: what there is of it, how long the rest takes, what it writes and holds.

Times are rates that this platform had (`foreseeing`) times the work that is left; where a stage was never run
with the encoder, its time is not known, and neither is the sum.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cocu.api.starting import Choice
from cocu.client import models
from cocu.errors import NotFoundError
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.catalog import curations, foreseeing
from cocu.storage.catalog.curations import CurationRecord
from cocu.storage.catalog.foreseeing import Foreseen
from cocu.storage.catalog.states import CURATION_STAGES, WHOLE, CurationState, Stage
from cocu.workers.earlier import EarlierLists
from cocu.workers.neighbours import raw_count
from cocu.workers.snapshot import Snapshot

SEARCH_BYTES = 64 << 20
"""What a search for neighbours takes beside its lists."""
LIST_BYTES = 550
"""What neighbours and curation of a shard take for each sample and neighbour: (148 − 64) MiB at 10,000 × 16,
as `python -m benchmarks.memory` measures."""
SAMPLE_BYTES = 48
"""What curation takes for each sample of the snapshot; the same benchmark's bound."""
GROUP_BYTES = 250
"""What `group` takes for each sample: its hash, fingerprint, group and lists."""
SHARDS_LOOKED_AT = 5


def estimate(platform: Platform, *, tenant: str, dataset: str, choice: Choice) -> models.CurationEstimate:
    """What `start` would start. Raises NotFoundError and ConflictError as that does."""
    found = foreseeing.foresee(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        encoder_hash=choice.encoder.hash,
        vocabulary_hash=choice.vocabulary.hash,
        parameters=choice.parameters,
    )
    samples = sum(shard.samples for shard in found.ahead.shards)
    lists = _known_lists(platform, tenant, dataset, choice, found) if found.exactly else None
    pairs = _pairs(found, lists) if found.exactly else None
    planned = [stage for stage in CURATION_STAGES if not (found.exactly and stage == Stage.CELLS)]
    stages = [_stage(found, stage, pairs) for stage in planned]
    times = [stage.seconds for stage in stages if stage.seconds is not None]
    written = _written(platform, choice, found)
    missing = [f"seconds of {stage.stage}: not run with this encoder yet" for stage in stages]
    missing = [text for text, stage in zip(missing, stages, strict=True) if stage.seconds is None]
    if written is None:
        missing.append("bytes: no curation with this encoder is completed yet")
    return models.CurationEstimate(
        id=found.ahead.curation_id,
        state=None if found.ahead.existing is None else CurationState(found.ahead.existing.state).value,
        dataset=dataset,
        snapshot=found.ahead.snapshot,
        samples=samples,
        shards=len(found.ahead.shards),
        vocabulary=choice.vocabulary.id,
        encoder=choice.encoder.name,
        encoder_hash=choice.encoder.hash,
        parameters=asdict(choice.parameters),
        stages=stages,
        pairs=pairs,
        pairs_in_all=samples * samples,
        builds_on=None if lists is None else lists.run.id,
        seconds=sum(times) if len(times) == len(stages) else None,
        bytes=written,
        bytes_free=_free(platform),
        memory=_memory(choice, found),
        not_known=missing,
    )


def _stage(found: Foreseen, stage: Stage, pairs: int | None) -> models.StageEstimate:
    there = found.there.get(stage, frozenset())
    shards = found.ahead.shards
    samples = sum(shard.samples for shard in shards)
    done = [shard for shard in shards if shard.id in there or WHOLE in there]
    samples_there = sum(shard.samples for shard in done)
    searched = stage == Stage.NEIGHBOURS
    work = pairs if searched and pairs is not None else samples - samples_there
    rate = found.rates.get(stage)
    return models.StageEstimate(
        stage=stage,
        shards=len(shards),
        shards_there=len(done),
        samples=samples,
        samples_there=samples_there,
        seconds=0.0 if work == 0 else None if rate is None else work * rate.seconds,
        measured=0 if rate is None else rate.samples,
    )


def _known_lists(
    platform: Platform, tenant: str, dataset: str, choice: Choice, found: Foreseen
) -> EarlierLists | None:
    """The earlier run whose neighbour lists would be gone by; found as the stage itself will find it."""
    shards = tuple(replace(shard, usable=True) for shard in found.ahead.numbered())
    record = CurationRecord(
        id=found.ahead.curation_id,
        tenant=tenant,
        dataset_id=dataset,
        snapshot_hash=found.ahead.snapshot,
        samples=sum(shard.samples for shard in shards),
        encoder=choice.encoder.name,
        encoder_hash=choice.encoder.hash,
        vocabulary_id=choice.vocabulary.id,
        vocabulary_hash=choice.vocabulary.hash,
        parameters=asdict(choice.parameters),
        parameters_hash=choice.parameters.hash,
        state=CurationState.QUEUED,
        stage=Stage.EMBED,
        content_hash=None,
        statistics=None,
        error=None,
        created_at=datetime.now(UTC),
        started_at=None,
        finished_at=None,
    )
    snapshot = Snapshot(platform, record, shards)
    return EarlierLists.for_search(snapshot, count=raw_count(choice.parameters.neighbours))


def _pairs(found: Foreseen, lists: EarlierLists | None) -> int:
    """The pairs of images to compare in those shards whose lists are not there."""
    shards = found.ahead.shards
    there = found.there.get(Stage.NEIGHBOURS, frozenset())
    samples = sum(shard.samples for shard in shards)
    added = set(range(len(shards))) if lists is None else set(lists.added)
    new = sum(shards[position].samples for position in added)
    left = [(position, shard) for position, shard in enumerate(shards) if shard.id not in there]
    return sum(shard.samples * (samples if position in added else new) for position, shard in left)


def _written(platform: Platform, choice: Choice, found: Foreseen) -> int | None:
    shards = found.ahead.shards
    embedded, archived = (found.there.get(stage, frozenset()) for stage in (Stage.EMBED, Stage.CURATE))
    to_embed = sum(shard.samples for shard in shards if shard.id not in embedded)
    to_curate = sum(shard.samples for shard in shards if shard.id not in archived)
    embeddings = to_embed * (2 * choice.encoder.dim + 8)
    if to_curate == 0:
        return embeddings
    each = _bytes_each(platform, found.like)
    if each is None:
        return None
    lists = raw_count(choice.parameters.neighbours) * 10
    return embeddings + to_curate * (lists + 8) + round(to_curate * each)


def _bytes_each(platform: Platform, like: CurationRecord | None) -> float | None:
    """Bytes a sample of what depends on captions: its archive, and what they name, which is kept twice."""
    if like is None:
        return None
    samples = size = 0
    for shard in curations.shards(platform.catalog, curation_id=like.id)[:SHARDS_LOOKED_AT]:
        try:
            size += sum(_sizes(platform, like.id, shard.shard_id))
        except NotFoundError:
            continue
        samples += shard.samples
    return size / samples if samples else None


def _sizes(platform: Platform, run: str, shard: str) -> Iterator[int]:
    yield platform.objects.size(paths.archives(run, shard))
    yield 2 * platform.objects.size(paths.mentions(run, shard))
    yield platform.objects.size(paths.statistics_part(run, shard))


def _free(platform: Platform) -> int | None:
    place = urlsplit(platform.settings.objects_url)
    return shutil.disk_usage(Path(unquote(place.path))).free if place.scheme == "file" else None


def _memory(choice: Choice, found: Foreseen) -> int:
    samples = sum(shard.samples for shard in found.ahead.shards)
    largest = max(shard.samples for shard in found.ahead.shards)
    shard = SEARCH_BYTES + largest * choice.parameters.neighbours * LIST_BYTES + SAMPLE_BYTES * samples
    return max(shard, GROUP_BYTES * samples)
