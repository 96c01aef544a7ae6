"""Names inside names, as the released script's membership test sees them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation.archives import Mentions
from cocu.curation.official_origins import add_substring_mentions, contained_names

NAMES = ("car", "carpet", "man", "street", "tree", "woman")


def contained(names: tuple[str, ...]) -> dict[str, list[str]]:
    offsets, inner = contained_names(names)
    return {
        name: [names[concept] for concept in inner[offsets[number] : offsets[number + 1]]]
        for number, name in enumerate(names)
        if offsets[number] < offsets[number + 1]
    }


def test_names_inside_other_names() -> None:
    assert contained(NAMES) == {"carpet": ["car"], "street": ["tree"], "woman": ["man"]}


def test_a_name_inside_twice_counts_once() -> None:
    assert contained(("an", "banana", "nan")) == {"banana": ["an", "nan"], "nan": ["an"]}


@given(st.lists(st.text("ab ", min_size=1, max_size=5), unique=True, max_size=12))
def test_equals_asking_every_pair(names: list[str]) -> None:
    expected = {outer: [inner for inner in names if inner != outer and inner in outer] for outer in names}
    assert contained(tuple(names)) == {outer: inner for outer, inner in expected.items() if inner}


def test_samples_gain_mentions_with_their_similarity() -> None:
    """Sample 0 says "woman" and "man" already, sample 1 says "woman" only, sample 2 nothing."""
    generator = np.random.default_rng(0)
    images, concepts = generator.standard_normal((3, 4)), generator.standard_normal((6, 4))
    requested = []

    def embeddings_of(rows: np.ndarray) -> np.ndarray:
        requested.extend(rows.tolist())
        return images[rows]

    wide = add_substring_mentions(
        mentions=Mentions(
            offsets_N1=np.array([0, 2, 3, 3]),
            concepts_M=np.array([2, 5, 5], np.int32),
            similarities_M=np.array([0.1, 0.2, 0.3]),
        ),
        names=NAMES,
        concepts_VD=concepts,
        embeddings_of=embeddings_of,
    )
    assert wide.offsets_N1.tolist() == [0, 2, 4, 4]
    assert wide.concepts_M.tolist() == [2, 5, 2, 5]
    np.testing.assert_allclose(wide.similarities_M, [0.1, 0.2, images[1] @ concepts[2], 0.3])
    assert requested == [1]
