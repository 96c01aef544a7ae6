"""The concepts and texts of a batch: pure functions of (curation hash, seed, epoch, key)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cocu.batches import prompts
from cocu.batches.columns import ShardColumns
from cocu.batches.parameters import BatchParameters
from cocu.curation import lists
from cocu.curation.archives import Archives, Floats, Ids, Ints
from cocu.curation.sampling import NO_CONCEPT, draw_concepts


@dataclass(frozen=True)
class Chosen:
    """Samples of one shard: their rows there."""

    columns: ShardColumns
    rows_B: Ids


def drawn_columns(
    parts: Sequence[Chosen], parameters: BatchParameters, *, curation_hash: str, names: Sequence[str]
) -> dict[str, pa.Array]:
    """Everything about the samples of all parts, in that order, but their images.

    names: of the vocabulary's concepts, by id. No column depends on which other samples there are.
    """
    keys = _joined([part.columns.keys.take(pa.array(part.rows_B)) for part in parts])
    captions = _joined([part.columns.captions.take(pa.array(part.rows_B)) for part in parts])
    archives = _archives(parts)
    concepts_BK = draw_concepts(
        archives,
        keys.to_pylist(),
        curation_hash=curation_hash,
        seed=parameters.seed,
        epoch=parameters.epoch,
        count=parameters.concepts,
        temperature=parameters.temperature,
        sampler=parameters.sampler,
    )
    templates_BK = prompts.draw_templates(
        keys.to_pylist(),
        curation_hash=curation_hash,
        seed=parameters.seed,
        epoch=parameters.epoch,
        concepts=parameters.concepts,
        templates=len(parameters.templates),
    )
    named = pa.array(names, pa.string())
    drawn_B = (concepts_BK != NO_CONCEPT).sum(axis=1)
    ids = pa.array(concepts_BK[concepts_BK != NO_CONCEPT])
    columns = {
        "key": keys,
        "caption": captions,
        "drawn": pa.array(drawn_B.astype(np.int32)),
        "concepts": prompts.lists_of(named.take(ids), drawn_B),
        "concept_ids": prompts.lists_of(ids, drawn_B),
        "texts": prompts.texts(
            names=named,
            captions=captions,
            concepts_BK=concepts_BK,
            templates=parameters.templates,
            templates_BK=templates_BK,
        ),
    }
    if parameters.include_scores:
        columns["scores"] = prompts.lists_of(pa.array(_scores(archives, concepts_BK)), drawn_B)
    return columns


def _joined(parts: Sequence[pa.Array]) -> pa.Array:
    return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


def _archives(parts: Sequence[Chosen]) -> Archives:
    """The archives of all parts, one after the other; origins, which nothing is drawn by, are left out."""
    taken = [
        (part.columns.archives, *lists.take(part.columns.archives.offsets_N1, part.rows_B)) for part in parts
    ]
    lengths = [np.diff(offsets_B1) for _, offsets_B1, _ in taken]
    scores_C = np.concatenate(
        [np.empty(0, np.float32), *(each.scores_C[places] for each, _, places in taken)]
    )
    return Archives(
        offsets_B1=lists.offsets_of(np.concatenate([np.empty(0, np.int64), *lengths])),
        concepts_C=np.concatenate([np.empty(0, np.int32), *(each.concepts_C[at] for each, _, at in taken)]),
        scores_C=scores_C,
        global_C=scores_C,
        local_C=scores_C,
        clusters_C=np.concatenate([np.empty(0, np.int32), *(each.clusters_C[at] for each, _, at in taken)]),
        origin_offsets_C1=np.zeros(len(scores_C) + 1, np.int64),
        origins_O=np.empty(0, np.int32),
    )


def _scores(archives: Archives, concepts_BK: Ints) -> Floats:
    """The scores of the concepts drawn, float32, in the order of the samples and their draws."""
    samples_P, places_P = np.nonzero(concepts_BK != NO_CONCEPT)
    span = np.int64(archives.concepts_C.max(initial=0)) + 1
    # A concept is in an archive once, so (archive, concept) finds its entry.
    entries_C = lists.owners(archives.offsets_B1) * span + archives.concepts_C
    wanted_P = samples_P * span + concepts_BK[samples_P, places_P]
    by_name_C = np.argsort(entries_C)
    found_P = by_name_C[np.searchsorted(entries_C, wanted_P, sorter=by_name_C)]
    return archives.scores_C[found_P].astype(np.float32)
