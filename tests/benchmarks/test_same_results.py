from __future__ import annotations

import numpy as np
import pytest
from benchmarks.same_results import Result, verdicts_of

ARCHIVE = [["key", "a dog", [["dog", 0, False, [("own_caption", "key", "a dog")]]]]]
BEFORE = Result("id", "hash", ARCHIVE, np.array([[1.0, 0.5, 0.5]]))


def test_equal_results_hold_and_scores_may_differ_in_the_last_bits() -> None:
    now = BEFORE._replace(scores_C3=BEFORE.scores_C3 + 1e-6)
    assert all(holds for holds, _ in verdicts_of(BEFORE, now).values())


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"id": "other"}, "id"),
        ({"content_hash": "other"}, "content hash"),
        ({"archives": [["key", "a dog", []]]}, "archives"),
        ({"scores_C3": np.array([[1.0, 0.5, 0.5001]])}, "scores"),
    ],
)
def test_a_difference_is_named(changed: dict[str, object], name: str) -> None:
    verdicts = verdicts_of(BEFORE, BEFORE._replace(**changed))
    assert [part for part, (holds, _) in verdicts.items() if not holds] == [name]
