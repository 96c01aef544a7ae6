"""From samples and neighbours to archives: expand, rank, select, cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cocu.curation.archives import NO_CLUSTER, NO_NEIGHBOUR, Archives, Candidates, Floats, Ids, Mentions
from cocu.curation.clustering import cluster
from cocu.curation.expansion import expand
from cocu.curation.official_origins import add_substring_mentions
from cocu.curation.parameters import CurationParameters
from cocu.curation.ragged import offsets_of, owners, take
from cocu.curation.ranking import Scores, rank
from cocu.curation.statistics import Statistics

__all__ = ["curate"]


def curate(
    *,
    mentions: Mentions,
    anchors_B: Ids,
    neighbours_BL: Ids,
    neighbour_similarities_BL: Floats,
    images_BD: Floats,
    concepts_VD: Floats,
    names: Sequence[str],
    parameters: CurationParameters,
    statistics: Statistics | None = None,
    embeddings_of: Callable[[Ids], Floats] | None = None,
) -> Archives:
    """Curate B images: return their archives, in the order given.

    mentions: of all N samples. anchors_B: the rows of the images; images_BD: their unit embeddings.
    neighbours_BL: rows of other samples by descending similarity, NO_NEIGHBOUR where there are fewer than L;
    neighbour_similarities_BL: their cosines. concepts_VD: the unit embeddings of the vocabulary; names: its V
    names. statistics: of the dataset, for the scorings that compare with it.

    The scoring "official" counts the image itself as the first of its L neighbours, so it does not read the
    last of the L columns. It needs `embeddings_of`, which returns the unit embeddings [n, D] of samples by
    row, for the neighbours whose captions contain a candidate inside another word. The other scorings need
    neither names nor embeddings of neighbours.

    An image's archive is a pure function of its own rows, so any split into batches gives the same archives.
    Raises ValueError when shapes do not fit or a row is out of range.
    """
    if len(names) != len(concepts_VD):
        raise ValueError(
            f"{len(names)} names and {len(concepts_VD)} concept embeddings: give one of each per concept"
        )
    if parameters.scoring == "official":
        if embeddings_of is None:
            raise ValueError('scoring "official" compares with the images of neighbours: pass embeddings_of')
        candidates, scores = _expand_and_rank_official(
            mentions=mentions,
            anchors_B=anchors_B,
            neighbours_BL=neighbours_BL[:, : parameters.neighbours - 1],
            images_BD=images_BD,
            concepts_VD=concepts_VD,
            names=names,
            embeddings_of=embeddings_of,
        )
    else:
        neighbours_BL = neighbours_BL[:, : parameters.neighbours]
        candidates = expand(mentions, anchors_B, neighbours_BL, own_caption=parameters.own_caption)
        scores = rank(
            scoring=parameters.scoring,
            candidates=candidates,
            mentions=mentions,
            neighbours_BL=neighbours_BL,
            images_BD=images_BD,
            concepts_VD=concepts_VD,
            neighbour_similarities_BL=neighbour_similarities_BL[:, : parameters.neighbours],
            statistics=statistics,
        )
    archives = select(
        candidates, scores, min_score=parameters.min_score, max_concepts=parameters.max_concepts
    )
    if not parameters.clustering:
        return archives
    clusters_C = cluster(
        concepts_VD=concepts_VD,
        offsets_B1=archives.offsets_B1,
        concepts_C=archives.concepts_C,
        seed=parameters.seed,
    )
    return replace(archives, clusters_C=clusters_C)


def select(
    candidates: Candidates, scores: Scores, *, min_score: float | None = None, max_concepts: int | None = None
) -> Archives:
    """Sort every image's candidates by descending score, ties by concept, and apply the limits."""
    images_C = owners(candidates.offsets_B1)
    # The sort is stable and candidates are sorted by concept, so ties stay in the order of concepts.
    order_C = np.lexsort((-scores.scores_C, images_C))
    kept_C = np.ones(len(order_C), bool)
    if min_score is not None:
        kept_C &= scores.scores_C[order_C] >= min_score
    if max_concepts is not None:
        kept_C &= np.arange(len(order_C)) - candidates.offsets_B1[images_C] < max_concepts
    order_C = order_C[kept_C]
    origin_offsets_C1, origins = take(candidates.origin_offsets_C1, order_C)
    return Archives(
        offsets_B1=offsets_of(np.bincount(images_C[kept_C], minlength=len(candidates.offsets_B1) - 1)),
        concepts_C=candidates.concepts_C[order_C],
        scores_C=scores.scores_C[order_C],
        global_C=scores.global_C[order_C],
        local_C=scores.local_C[order_C],
        clusters_C=np.full(len(order_C), NO_CLUSTER, np.int32),
        origin_offsets_C1=origin_offsets_C1,
        origins_O=candidates.origins_O[origins],
    )


def _expand_and_rank_official(
    *,
    mentions: Mentions,
    anchors_B: Ids,
    neighbours_BL: Ids,
    images_BD: Floats,
    concepts_VD: Floats,
    names: Sequence[str],
    embeddings_of: Callable[[Ids], Floats],
) -> tuple[Candidates, Scores]:
    """Return candidates with the origins that name them, scored with the wider origins by substring."""
    named = expand(mentions, anchors_B, neighbours_BL, count_anchor=True)
    rows_U = np.unique(np.concatenate([anchors_B, neighbours_BL.ravel()]))
    rows_U = rows_U[rows_U >= 0]
    neighbours_BL = np.where(neighbours_BL < 0, NO_NEIGHBOUR, np.searchsorted(rows_U, neighbours_BL))
    substring_mentions = add_substring_mentions(
        mentions=_rows_of(mentions, rows_U),
        names=names,
        concepts_VD=concepts_VD,
        embeddings_of=lambda positions: embeddings_of(rows_U[positions]),
    )
    candidates = _restrict(
        expand(substring_mentions, np.searchsorted(rows_U, anchors_B), neighbours_BL, count_anchor=True),
        named,
        len(names),
    )
    scores = rank(
        scoring="official",
        candidates=candidates,
        mentions=substring_mentions,
        neighbours_BL=neighbours_BL,
        images_BD=images_BD,
        concepts_VD=concepts_VD,
    )
    return named, scores


def _rows_of(mentions: Mentions, rows_U: Ids) -> Mentions:
    offsets_U1, flat = take(mentions.offsets_N1, rows_U)
    return Mentions(
        offsets_N1=offsets_U1,
        concepts_M=mentions.concepts_M[flat],
        similarities_M=mentions.similarities_M[flat],
    )


def _restrict(candidates: Candidates, named: Candidates, vocabulary_size: int) -> Candidates:
    """Return those of `candidates` that are in `named`, with the origins they have in `candidates`."""
    keys = owners(candidates.offsets_B1) * vocabulary_size + candidates.concepts_C
    named_keys = owners(named.offsets_B1) * vocabulary_size + named.concepts_C
    origin_offsets_C1, origins = take(candidates.origin_offsets_C1, np.searchsorted(keys, named_keys))
    return replace(named, origin_offsets_C1=origin_offsets_C1, origins_O=candidates.origins_O[origins])
