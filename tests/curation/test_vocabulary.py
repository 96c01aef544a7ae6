"""What a caption names."""

from __future__ import annotations

import pytest

from cocu.curation.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a car on the carpet", ["car"]),
        ("two hot dogs", ["hot dog"]),
    ],
)
def test_match_is_longest_on_word_boundaries(caption: str, named: list[str]) -> None:
    vocabulary = Vocabulary.from_lines("car\ndog\nhot dog", name="own")
    assert [vocabulary.names[concept] for concept in vocabulary.match(caption)] == named
