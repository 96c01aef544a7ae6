"""The estimate of a curation before it runs: the work that is left, its time, its bytes and its memory.

A time is the work that is left times the rate that was measured on this platform (`costs`). If a stage was
never run with the encoder, its time is not known, and neither is the sum.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cocu import schemas
from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord
from cocu.catalog.states import CurationState, Stage
from cocu.errors import NotFoundError
from cocu.pipeline import costs, stages
from cocu.pipeline.context import CurationContext
from cocu.pipeline.costs import CostInputs
from cocu.pipeline.reuse import ReusableLists
from cocu.pipeline.stages import WHOLE_CURATION, StageSpec
from cocu.pipeline.stages.neighbours import raw_count
from cocu.pipeline.submit import Choice
from cocu.platform import Platform
from cocu.storage import paths

SEARCH_BYTES = 64 << 20
"""Memory of a search for neighbours, without its lists."""
LIST_BYTES = 550
"""Memory of the search and the curation of a shard for each sample and neighbour: (148 − 64) MiB at
10,000 × 16, as `python -m benchmarks.memory` measures."""
SAMPLE_BYTES = 48
"""Memory of curation for each sample of the snapshot; the bound of the same benchmark."""
GROUP_BYTES = 250
"""Memory of `aggregate` for each sample: its hashes, group and lists."""
SAMPLED_SHARDS = 5


def estimate(platform: Platform, *, tenant: str, dataset: str, choice: Choice) -> schemas.CurationEstimate:
    """Estimate what `submit.create_curation` would start. Raises NotFoundError, ConflictError as it does."""
    inputs = costs.cost_inputs(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        encoder_hash=choice.encoder.hash,
        vocabulary_hash=choice.vocabulary.hash,
        parameters=choice.parameters,
    )
    samples = sum(shard.samples for shard in inputs.plan.shards)
    lists = _reusable_lists(platform, tenant, dataset, choice, inputs) if inputs.exactly else None
    pairs = _pairs(inputs, lists) if inputs.exactly else None
    specs = [spec for spec in stages.of_curations() if spec.when(choice.parameters, samples)]
    estimates = [_stage_estimate(inputs, spec, pairs) for spec in specs]
    # Stages that run after the curation has ended do not count.
    awaited = [stage for stage, spec in zip(estimates, specs, strict=True) if stages.is_awaited(spec)]
    times = [stage.seconds for stage in awaited if stage.seconds is not None]
    written_bytes = _written_bytes(platform, choice, inputs)
    missing = [
        f"seconds of {stage.stage}: not run with this encoder yet"
        for stage in awaited
        if stage.seconds is None
    ]
    if written_bytes is None:
        missing.append("bytes: no curation with this encoder is completed yet")
    return schemas.CurationEstimate(
        id=inputs.plan.curation_id,
        state=None if inputs.plan.existing is None else CurationState(inputs.plan.existing.state).value,
        dataset=dataset,
        snapshot=inputs.plan.snapshot,
        samples=samples,
        shards=len(inputs.plan.shards),
        vocabulary=choice.vocabulary.id,
        encoder=choice.encoder.name,
        encoder_hash=choice.encoder.hash,
        parameters=asdict(choice.parameters),
        stages=estimates,
        pairs=pairs,
        pairs_in_all=samples * samples,
        builds_on=None if lists is None else lists.run.id,
        seconds=sum(times) if len(times) == len(awaited) else None,
        bytes=written_bytes,
        bytes_free=_free_bytes(platform),
        memory=_memory_bytes(choice, inputs),
        not_known=missing,
    )


def _stage_estimate(inputs: CostInputs, spec: StageSpec, pairs: int | None) -> schemas.StageEstimate:
    completed = inputs.completed.get(spec.name, frozenset())
    shards = inputs.plan.shards
    samples = sum(shard.samples for shard in shards)
    done = [shard for shard in shards if shard.id in completed or WHOLE_CURATION in completed]
    samples_done = sum(shard.samples for shard in done)
    work = pairs if spec.counts_pairs and pairs is not None else samples - samples_done
    rate = inputs.rates.get(spec.name)
    return schemas.StageEstimate(
        stage=spec.name,
        shards=len(shards),
        shards_there=len(done),
        samples=samples,
        samples_there=samples_done,
        seconds=0.0 if work == 0 else None if rate is None else work * rate.seconds,
        measured=0 if rate is None else rate.samples,
    )


def _reusable_lists(
    platform: Platform, tenant: str, dataset: str, choice: Choice, inputs: CostInputs
) -> ReusableLists | None:
    """Return the earlier run whose neighbour lists the search would reuse, found as the stage itself does."""
    shards = tuple(replace(shard, usable=True) for shard in inputs.plan.shard_records())
    record = CurationRecord(
        id=inputs.plan.curation_id,
        tenant=tenant,
        dataset_id=dataset,
        snapshot_hash=inputs.plan.snapshot,
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
        threshold=None,
        statistics=None,
        left_out=None,
        error=None,
        created_at=datetime.now(UTC),
        started_at=None,
        finished_at=None,
    )
    context = CurationContext(platform, record, shards)
    return ReusableLists.for_search(context, count=raw_count(choice.parameters.neighbours))


def _pairs(inputs: CostInputs, lists: ReusableLists | None) -> int:
    """Return the number of pairs of images to compare in the shards whose lists are not done."""
    shards = inputs.plan.shards
    completed = inputs.completed.get(Stage.NEIGHBOURS, frozenset())
    samples = sum(shard.samples for shard in shards)
    added = set(range(len(shards))) if lists is None else set(lists.added)
    new = sum(shards[position].samples for position in added)
    remaining = [(position, shard) for position, shard in enumerate(shards) if shard.id not in completed]
    return sum(shard.samples * (samples if position in added else new) for position, shard in remaining)


def _written_bytes(platform: Platform, choice: Choice, inputs: CostInputs) -> int | None:
    shards = inputs.plan.shards
    embedded, archived = (inputs.completed.get(stage, frozenset()) for stage in (Stage.EMBED, Stage.CURATE))
    to_embed = sum(shard.samples for shard in shards if shard.id not in embedded)
    to_curate = sum(shard.samples for shard in shards if shard.id not in archived)
    embeddings = to_embed * (2 * choice.encoder.dim + 8)
    if to_curate == 0:
        return embeddings
    bytes_per_sample = _bytes_per_sample(platform, inputs.reference)
    if bytes_per_sample is None:
        return None
    lists = raw_count(choice.parameters.neighbours) * 10
    return embeddings + to_curate * (lists + 8) + round(to_curate * bytes_per_sample)


def _bytes_per_sample(platform: Platform, reference: CurationRecord | None) -> float | None:
    """Return the bytes per sample of what depends on captions: archives, statistics, and mentions twice.

    Mentions are stored for each shard and, by `aggregate`, for the whole snapshot.
    """
    if reference is None:
        return None
    samples = size = 0
    for shard in curations.shards(platform.catalog, curation_id=reference.id)[:SAMPLED_SHARDS]:
        try:
            size += sum(_sizes(platform, reference.id, shard.shard_id))
        except NotFoundError:
            continue
        samples += shard.samples
    return size / samples if samples else None


def _sizes(platform: Platform, run: str, shard: str) -> Iterator[int]:
    yield platform.objects.size(paths.archives(run, shard))
    yield 2 * platform.objects.size(paths.mentions(run, shard))
    yield platform.objects.size(paths.statistics_part(run, shard))


def _free_bytes(platform: Platform) -> int | None:
    url = urlsplit(platform.settings.objects_url)
    return shutil.disk_usage(Path(unquote(url.path))).free if url.scheme == "file" else None


def _memory_bytes(choice: Choice, inputs: CostInputs) -> int:
    samples = sum(shard.samples for shard in inputs.plan.shards)
    largest = max(shard.samples for shard in inputs.plan.shards)
    shard = SEARCH_BYTES + largest * choice.parameters.neighbours * LIST_BYTES + SAMPLE_BYTES * samples
    return max(shard, GROUP_BYTES * samples)
