"""Curation one image at a time, as one would write it from the reference: dictionaries and scikit-learn.

It is what `cocu.curation` is measured against and tested against; it shares no code with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.cluster import KMeans

from cocu.curation.archives import Floats, Ints


def set_scores(
    *,
    anchor: int,
    neighbours: Sequence[int],
    captions: Sequence[Sequence[int]],
    images_ND: Floats,
    concepts_VD: Floats,
    own_caption: bool = True,
) -> dict[int, float]:
    """The corrected scores of one image's candidates (sections 5, 6 and 10.1 of the reference)."""
    others = list(dict.fromkeys(j for j in neighbours if j >= 0 and j != anchor))
    archive = {concept for j in others for concept in captions[j]}
    if own_caption:
        archive |= set(captions[anchor])
    compared = {c: [j for j in others if c in captions[j]] + [anchor] for c in archive}
    cosines = {c: images_ND[compared[c]] @ concepts_VD[c] for c in archive}
    largest = max((float(cosines[c].max()) for c in archive), default=0.0)
    scores = {}
    for c in sorted(archive):
        own, mean = float(cosines[c][-1]), float(cosines[c].mean())
        global_term = own / largest if largest > 1e-6 else 0.0
        local_term = own / mean if mean > 1e-6 and len(compared[c]) > 1 else 1.0
        scores[c] = global_term + local_term
    return scores


def official_scores(
    *,
    anchor: int,
    retrieved: Sequence[int],
    captions: Sequence[Sequence[int]],
    names: Sequence[str],
    images_ND: Floats,
    concepts_VD: Floats,
) -> dict[int, float]:
    """The released scores of one image's candidates (sections 5 and 6), for positive means.

    `retrieved` are the results of the index as returned, the anchor among them if it is indexed; -1 reads
    the last image.
    """
    archive = sorted({concept for j in retrieved for concept in captions[j]})
    joined = {j: ", ".join(names[concept] for concept in captions[j]) for j in retrieved}
    compared = {c: [j for j in retrieved if names[c] in joined[j]] + [anchor] for c in archive}
    cosines = {c: images_ND[compared[c]] @ concepts_VD[c] for c in archive}
    largest = max([0.0] + [float(cosines[c].max()) for c in archive])
    return {c: float(cosines[c][-1] / largest + cosines[c][-1] / cosines[c].mean()) for c in archive}


def clusters(concepts: Sequence[int], concepts_VD: Floats) -> Ints | None:
    """k-means of one archive (section 7, released settings)."""
    if len(concepts) <= 2:
        return None
    count = (len(concepts) + 1) // 2
    kmeans = KMeans(count, n_init=5, max_iter=100, random_state=0)
    return kmeans.fit(concepts_VD[list(concepts)]).labels_


def archive(
    *,
    anchor: int,
    neighbours: Sequence[int],
    captions: Sequence[Sequence[int]],
    images_ND: Floats,
    concepts_VD: Floats,
) -> tuple[list[tuple[int, float]], Ints | None]:
    """The archive of one image: (concept, score) by falling score and its clusters."""
    scores = set_scores(
        anchor=anchor, neighbours=neighbours, captions=captions, images_ND=images_ND, concepts_VD=concepts_VD
    )
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return ranked, clusters([concept for concept, _ in ranked], concepts_VD)
