"""The columns of archives against the same from plain lists, and against the concept index."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.curation.test_concept_index import captions, index, scored

from cocu.curation.archive_columns import NO_SCORE, ArchiveColumns


@given(lists=scored, named=captions)
def test_columns_are_those_of_plain_lists(lists: list[dict[int, float]], named: list[set[int]]) -> None:
    columns = ArchiveColumns.of(index(lists, named[: len(lists)]))
    for row, (scores, names) in enumerate(zip(lists, named, strict=False)):
        added = [score for concept, score in scores.items() if concept not in names]
        kept = [score for concept, score in scores.items() if concept in names]
        assert (columns.sizes_B[row], columns.gains_B[row]) == (len(scores), len(added))
        assert columns.best_added_B[row] == max(added, default=NO_SCORE)
        assert columns.best_named_B[row] == max(kept, default=NO_SCORE)


@given(
    lists=scored,
    named=captions,
    added=st.sampled_from([None, True, False]),
    min_score=st.sampled_from([None, -1.0, -0.5, 0.0, 0.25, 2.0, float(-np.finfo(np.float32).max)]),
)
def test_filters_by_columns_are_those_by_the_index(
    lists: list[dict[int, float]], named: list[set[int]], added: bool | None, min_score: float | None
) -> None:
    built = index(lists, named[: len(lists)])
    holding_B = ArchiveColumns.of(built).holding(added=added, min_score=min_score)
    assert np.flatnonzero(holding_B).tolist() == built.archived(added=added, min_score=min_score).tolist()
