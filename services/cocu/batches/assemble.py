"""The columns of a batch: concepts and texts, as pure functions of (curation hash, seed, epoch, key)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.batches import prompts
from cocu.batches.parameters import BatchParameters
from cocu.batches.shard_cache import ShardColumns
from cocu.catalog.curations import CurationShardRecord
from cocu.curation import ragged
from cocu.curation.archives import OWN_CAPTION, Archives, Ids
from cocu.curation.sampling import NO_CONCEPT, draw_entries


@dataclass(frozen=True)
class ShardRows:
    """Samples of one shard: their rows in the shard, and their positions in the batch."""

    shard: CurationShardRecord
    columns: ShardColumns
    rows_B: Ids
    positions_B: Ids


def draw_columns(
    parts: Sequence[ShardRows], parameters: BatchParameters, *, curation_hash: str, names: pa.Array
) -> dict[str, pa.Array]:
    """Compute all columns of the samples except their images, in the order of `positions_B`.

    names: the names of the vocabulary's concepts, by id. The values of a sample do not depend on the other
    samples.
    """
    # Columns are computed part after part; back_B restores the order of the positions.
    back_B = np.argsort(np.concatenate([_NONE, *(part.positions_B for part in parts)]), kind="stable")
    keys = _reordered([part.columns.keys.take(pa.array(part.rows_B)) for part in parts], back_B)
    captions = _reordered([part.columns.captions.take(pa.array(part.rows_B)) for part in parts], back_B)
    hashes_B = np.concatenate(
        [np.empty(0, np.uint64), *(part.columns.key_hashes_N[part.rows_B] for part in parts)]
    )
    archives = _archives(parts)
    entries_BK = draw_entries(
        archives,
        hashes_B,
        curation_hash=curation_hash,
        seed=parameters.seed,
        epoch=parameters.epoch,
        count=parameters.concepts,
        temperature=parameters.temperature,
        sampler=parameters.sampler,
    )[back_B]
    templates_BK = prompts.draw_templates(
        hashes_B[back_B],
        curation_hash=curation_hash,
        seed=parameters.seed,
        epoch=parameters.epoch,
        concepts=parameters.concepts,
        templates=max(len(parameters.templates), 1),
    )
    # The sentinel is the entry that -1 reads.
    concepts_BK = np.append(archives.concepts_C, np.int32(NO_CONCEPT))[entries_BK]
    drawn_BK = entries_BK != NO_CONCEPT
    drawn_B = drawn_BK.sum(axis=1)
    ids = pa.array(concepts_BK[drawn_BK])
    columns = {
        "key": keys,
        "caption": captions,
        "drawn": pa.array(drawn_B.astype(np.int32)),
        "concepts": prompts.lists_of(names.take(ids), drawn_B),
        "concept_ids": prompts.lists_of(ids, drawn_B),
        "texts": prompts.texts(
            names=names,
            captions=captions,
            concepts_BK=concepts_BK,
            templates=parameters.templates,
            templates_BK=templates_BK,
        ),
    }
    if parameters.include_scores:
        scores = pa.array(archives.scores_C[entries_BK[drawn_BK]].astype(np.float32))
        columns["scores"] = prompts.lists_of(scores, drawn_B)
    return columns


_NONE = np.empty(0, np.int64)


def _reordered(parts: Sequence[pa.Array], back_B: Ids) -> pa.Array:
    return pa.concat_arrays(parts).take(pa.array(back_B)) if parts else pa.array([], pa.string())


def _archives(parts: Sequence[ShardRows]) -> Archives:
    """Concatenate the archives of all parts; the only origin kept is the own caption."""
    selections = [
        (part.columns.archives, *ragged.take(part.columns.archives.offsets_N1, part.rows_B)) for part in parts
    ]
    scores_C = _concatenate([archives.scores_C[entries] for archives, _, entries in selections], np.float32)
    named_C = _concatenate([archives.named_C[entries] for archives, _, entries in selections], np.bool_)
    return Archives(
        offsets_B1=ragged.offsets_of(
            _concatenate([np.diff(offsets_B1) for _, offsets_B1, _ in selections], np.int64)
        ),
        concepts_C=_concatenate(
            [archives.concepts_C[entries] for archives, _, entries in selections], np.int32
        ),
        scores_C=scores_C,
        global_C=scores_C,
        local_C=scores_C,
        clusters_C=_concatenate(
            [archives.clusters_C[entries] for archives, _, entries in selections], np.int32
        ),
        origin_offsets_C1=ragged.offsets_of(named_C.astype(np.int64)),
        origins_O=np.full(named_C.sum(), OWN_CAPTION, np.int32),
    )


def _concatenate(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays])
