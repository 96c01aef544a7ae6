"""The index by concept against the archives and captions it was made from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation.archives import Archives
from cocu.curation.concept_index import ConceptIndex
from cocu.curation.ragged import offsets_of

CONCEPTS = 5
scored = st.lists(
    st.dictionaries(st.integers(0, CONCEPTS - 1), st.integers(-4, 4).map(lambda score: score / 4)),
    min_size=1,
    max_size=6,
)
captions = st.lists(st.sets(st.integers(0, CONCEPTS - 1)), min_size=6, max_size=6)


def index(lists: list[dict[int, float]], named: list[set[int]]) -> ConceptIndex:
    best_first = [sorted(scores.items(), key=lambda entry: (-entry[1], entry[0])) for scores in lists]
    entries = [entry for scores in best_first for entry in scores]
    zeros = np.zeros(len(entries), np.float32)
    archives = Archives(
        offsets_B1=offsets_of(np.array([len(scores) for scores in lists], np.int64)),
        concepts_C=np.array([concept for concept, _ in entries], np.int32),
        scores_C=np.array([score for _, score in entries], np.float32),
        global_C=zeros,
        local_C=zeros,
        clusters_C=zeros.astype(np.int32),
        origin_offsets_C1=np.zeros(len(entries) + 1, np.int64),
        origins_O=np.zeros(0, np.int32),
    )
    return ConceptIndex.of(
        archives,
        caption_offsets_B1=offsets_of(np.array([len(scores) for scores in named], np.int64)),
        caption_concepts_M=np.array([concept for scores in named for concept in sorted(scores)], np.int32),
        concepts=CONCEPTS,
    )


@given(lists=scored, named=captions)
def test_every_answer_equals_the_one_from_plain_lists(
    lists: list[dict[int, float]], named: list[set[int]]
) -> None:
    named = named[: len(lists)]
    built = index(lists, named)
    for concept in range(CONCEPTS):
        holding = [row for row, concepts in enumerate(lists) if concept in concepts]
        best = sorted(holding, key=lambda row: (-lists[row][concept], row))
        assert built.rows_of(built.entries(concept)).tolist() == best
        assert built.archived(concept).tolist() == holding
        assert built.captioned(concept).tolist() == [
            row for row, concepts in enumerate(named) if concept in concepts
        ]
        assert built.archive_counts[concept] == len(holding)
        assert built.caption_counts[concept] == sum(concept in concepts for concepts in named)
        assert built.added_counts[concept] == sum(concept not in named[row] for row in holding)
        together = Counter(other for row in holding for other in lists[row])
        assert built.counts(np.array(holding, np.int64)).tolist() == [
            together[concepts] for concepts in range(CONCEPTS)
        ]


@given(
    lists=scored,
    named=captions,
    concept=st.none() | st.integers(0, CONCEPTS - 1),
    added=st.none() | st.booleans(),
    min_score=st.none() | st.sampled_from([-0.5, 0.0, 0.75]),
)
def test_one_concept_must_satisfy_every_condition(
    lists: list[dict[int, float]],
    named: list[set[int]],
    concept: int | None,
    added: bool | None,
    min_score: float | None,
) -> None:
    named = named[: len(lists)]
    expected = [
        row
        for row, scores in enumerate(lists)
        if any(
            concept in (None, other)
            and added in (None, other not in named[row])
            and (min_score is None or score >= min_score)
            for other, score in scores.items()
        )
    ]
    assert index(lists, named).archived(concept, added=added, min_score=min_score).tolist() == expected


def test_archives_and_captions_must_be_of_the_same_images() -> None:
    with pytest.raises(ValueError, match="1 archives, but 2 captions"):
        index([{0: 1.0}], [{0}, {1}])
