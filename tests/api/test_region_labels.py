"""Labels of regions: congruent with a dense count, in proportion to what occurs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cocu.api.queries.region_labels import LABELS, distinctive

CONCEPTS = 7
REGIONS = 4


def dense(counts_RV: np.ndarray, archives_R: np.ndarray) -> list[list[int]]:
    """The same from a table of all regions and concepts."""
    labels = []
    for region, archives in enumerate(archives_R):
        gains = []
        for concept in range(counts_RV.shape[1]):
            count = counts_RV[region, concept]
            if count >= 2:
                share, overall = count / archives, counts_RV[:, concept].sum() / archives_R.sum()
                gains.append((-share * np.log(share / overall), concept))
        labels.append([concept for gain, concept in sorted(gains) if gain < 0][:LABELS])
    return labels


@given(st.lists(st.tuples(st.integers(0, REGIONS - 1), st.sets(st.integers(0, CONCEPTS - 1)))))
def test_distinctive__is_what_a_dense_count_says(archives: list[tuple[int, set[int]]]) -> None:
    counts_RV, archives_R = np.zeros((REGIONS, CONCEPTS), np.int64), np.zeros(REGIONS, np.int64)
    cells = []
    for region, concepts in archives:
        archives_R[region] += 1
        for concept in concepts:
            counts_RV[region, concept] += 1
            cells.append(region * CONCEPTS + concept)
    once = np.ones(len(cells), np.int64)

    labels = distinctive(np.array(cells, np.int64), once, archives_R, concepts=CONCEPTS)
    assert labels == dense(counts_RV, archives_R)


def test_distinctive__of_a_vocabulary_that_no_table_of_regions_could_hold() -> None:
    concepts = 10**12
    cells_K = np.array([3, concepts + 7, 63 * concepts + 5])
    archives_R = np.ones(64, np.int64) * 4

    labels = distinctive(cells_K, np.array([4, 1, 3]), archives_R, concepts=concepts)
    assert labels == [[3], *([[]] * 62), [5]]
