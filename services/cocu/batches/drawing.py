"""The concepts and texts of samples: pure functions of (curation hash, seed, epoch, key)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.batches import prompts
from cocu.batches.columns import ShardColumns
from cocu.batches.parameters import BatchParameters
from cocu.curation import lists
from cocu.curation.archives import OWN_CAPTION, Archives, Ids
from cocu.curation.sampling import NO_CONCEPT, draw_entries
from cocu.storage.catalog.curations import CurationShardRecord


@dataclass(frozen=True)
class Chosen:
    """Samples of one shard: their rows there, and their places among all that are chosen."""

    shard: CurationShardRecord
    columns: ShardColumns
    rows_B: Ids
    places_B: Ids


def drawn_columns(
    parts: Sequence[Chosen], parameters: BatchParameters, *, curation_hash: str, names: pa.Array
) -> dict[str, pa.Array]:
    """Everything about the samples of all parts but their images, each at its place.

    names: of the vocabulary's concepts, by id. No column depends on which other samples there are.
    """
    # The parts one after the other, and back into the order of the places.
    back_B = np.argsort(np.concatenate([_NONE, *(part.places_B for part in parts)]), kind="stable")
    keys = _joined([part.columns.keys.take(pa.array(part.rows_B)) for part in parts], back_B)
    captions = _joined([part.columns.captions.take(pa.array(part.rows_B)) for part in parts], back_B)
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


def _joined(parts: Sequence[pa.Array], back_B: Ids) -> pa.Array:
    return pa.concat_arrays(parts).take(pa.array(back_B)) if parts else pa.array([], pa.string())


def _archives(parts: Sequence[Chosen]) -> Archives:
    """The archives of all parts, one after the other; of origins, only whether the own caption is one."""
    taken = [
        (part.columns.archives, *lists.take(part.columns.archives.offsets_N1, part.rows_B)) for part in parts
    ]
    scores_C = _together([each.scores_C[at] for each, _, at in taken], np.float32)
    named_C = _together([each.named_C[at] for each, _, at in taken], np.bool_)
    return Archives(
        offsets_B1=lists.offsets_of(_together([np.diff(offsets_B1) for _, offsets_B1, _ in taken], np.int64)),
        concepts_C=_together([each.concepts_C[at] for each, _, at in taken], np.int32),
        scores_C=scores_C,
        global_C=scores_C,
        local_C=scores_C,
        clusters_C=_together([each.clusters_C[at] for each, _, at in taken], np.int32),
        origin_offsets_C1=lists.offsets_of(named_C.astype(np.int64)),
        origins_O=np.full(named_C.sum(), OWN_CAPTION, np.int32),
    )


def _together(arrays: Sequence[NDArray[np.generic]], kind: type[np.generic]) -> NDArray[np.generic]:
    return np.concatenate([np.empty(0, kind), *arrays])
