"""Verdicts equal their definition, one image and one concept at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation.labels import NO_LABEL
from cocu.curation.ragged import offsets_of
from cocu.curation.verdicts import Verdict, judge

CONCEPTS, CLASSES = 6, 4
ARCHIVES = st.lists(st.lists(st.integers(0, CONCEPTS - 1), unique=True, max_size=CONCEPTS), max_size=5)
MEANINGS = st.lists(st.sampled_from([NO_LABEL, *range(CLASSES)]), min_size=CONCEPTS, max_size=CONCEPTS)


@given(ARCHIVES, MEANINGS, st.data())
def test_verdicts_are_those_of_sets(
    archives: list[list[int]], meanings: list[int], data: st.DataObject
) -> None:
    of_image = st.none() | st.lists(st.integers(0, CLASSES - 1), unique=True)
    labels = [data.draw(of_image) for _ in archives]
    verdicts = judge(
        offsets_B1=offsets_of(np.array([len(archive) for archive in archives], np.int64)),
        concepts_C=np.array([concept for archive in archives for concept in archive], np.int32),
        labels=labels,
        labels_V=np.array(meanings, np.int32),
        classes=CLASSES,
    )
    entry = 0
    for row, (archive, own) in enumerate(zip(archives, labels, strict=True)):
        named = {meanings[concept] for concept in archive}
        assert verdicts.missed(row) == (None if own is None else sorted(set(own) - named))
        for concept in archive:
            expected: Verdict | None = "hit" if meanings[concept] in (own or ()) else "false"
            if meanings[concept] == NO_LABEL:
                expected = "unknown"
            assert verdicts.verdict(entry) == (None if own is None else expected)
            entry += 1
    missing = [row for row in range(len(archives)) if verdicts.missed(row)]
    assert verdicts.rows_missing().tolist() == missing
