"""Extended lists are bit by bit equal to those of a search from the beginning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.neighbours.naive import naive_neighbours, unit_rows
from tests.neighbours.test_exact import shards_of, stored_embeddings

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.neighbours.exact import Neighbours, available_engine, top_neighbours
from cocu.neighbours.incremental import extend_neighbours


def extended(
    shards: list[NDArray[np.float16]], added: list[int], *, count: int, wider: int, memory: int = 1 << 20
) -> tuple[Neighbours, Neighbours]:
    """Return the lists of the old rows twice: extended from known lists, and searched from the beginning."""
    ids = np.split(np.arange(sum(map(len, shards))), np.cumsum([len(shard) for shard in shards])[:-1])
    old = [number for number in range(len(shards)) if number not in added]
    old_ids = np.concatenate([ids[number] for number in old])
    known = top_neighbours([shards[number] for number in old], range(len(old_ids)), count=count + wider)
    known_QK = np.where(known.ids_QL == NO_NEIGHBOUR, NO_NEIGHBOUR, old_ids[known.ids_QL])
    engine = available_engine()
    neighbours = extend_neighbours(
        shards, old_ids, known_QK=known_QK, new_shards=added, count=count, engine=engine, memory=memory
    )
    return neighbours, top_neighbours(shards, old_ids, count=count)


@settings(deadline=None, max_examples=60)
@given(
    embeddings_ND=stored_embeddings(),
    cuts=st.lists(st.integers(0, 40), min_size=2, max_size=4),
    added=st.sets(st.integers(0, 4)),
    count=st.integers(1, 12),
    wider=st.integers(0, 3),
)
def test_extend_neighbours__are_those_of_a_search_from_the_beginning(
    embeddings_ND: NDArray[np.float16], cuts: list[int], added: set[int], count: int, wider: int
) -> None:
    shards = shards_of(embeddings_ND, cuts)
    new = sorted(added & set(range(len(shards))))[: len(shards) - 1]
    if sum(len(shard) for number, shard in enumerate(shards) if number not in new) == 0:
        return
    neighbours, expected = extended(shards, new, count=count, wider=wider)
    np.testing.assert_array_equal(neighbours.ids_QL, expected.ids_QL)
    np.testing.assert_array_equal(neighbours.similarities_QL, expected.similarities_QL)


@pytest.mark.parametrize("memory", [1, 1 << 24])
def test_extend_neighbours__differ_only_where_a_new_row_is_among_the_nearest(memory: int) -> None:
    embeddings_ND = unit_rows(np.random.default_rng(3), 900, 24)
    shards = [embeddings_ND[:500], embeddings_ND[500:560], embeddings_ND[560:]]
    neighbours, expected = extended(shards, [1], count=8, wider=4, memory=memory)
    np.testing.assert_array_equal(neighbours.ids_QL, expected.ids_QL)
    np.testing.assert_array_equal(neighbours.similarities_QL, expected.similarities_QL)
    new_QL = (neighbours.ids_QL >= 500) & (neighbours.ids_QL < 560)
    assert 0 < new_QL.any(axis=1).sum() < 840


def test_extend_neighbours__refuses_lists_that_are_too_short() -> None:
    embeddings_ND = unit_rows(np.random.default_rng(3), 30, 8)
    with pytest.raises(ValueError, match="at least 5"):
        extend_neighbours(
            [embeddings_ND], range(30), known_QK=np.zeros((30, 4), np.int64), new_shards=[], count=5
        )


@settings(deadline=None, max_examples=40)
@given(
    embeddings_ND=stored_embeddings(),
    cuts=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    among=st.sets(st.integers(0, 3), min_size=1),
    grouped=st.booleans(),
)
def test_top_neighbours__among_some_shards_finds_no_others(
    embeddings_ND: NDArray[np.float16], cuts: list[int], among: set[int], grouped: bool
) -> None:
    shards = shards_of(embeddings_ND, cuts)
    chosen = sorted(among & set(range(len(shards)))) or [0]
    groups = [row % 5 if grouped else row for row in range(len(embeddings_ND))]
    neighbours = top_neighbours(
        shards,
        range(len(embeddings_ND)),
        count=6,
        groups_N=np.array(groups, np.int64),
        among=chosen,
    )
    edges = np.cumsum([0, *map(len, shards)])
    inside = {row for number in chosen for row in range(edges[number], edges[number + 1])}
    # Rows of another shard share no group with anything that the query is not in already.
    for query in range(len(embeddings_ND)):
        own = [row if row in inside or row == query else -1 for row in range(len(embeddings_ND))]
        kept = [row for row in own if row >= 0]
        ids_QL, similarities_QL = naive_neighbours(
            embeddings_ND[kept], [kept.index(query)], 6, [groups[row] for row in kept]
        )
        expected = [kept[index] if index >= 0 else NO_NEIGHBOUR for index in ids_QL[0].tolist()]
        assert neighbours.ids_QL[query].tolist() == expected
        np.testing.assert_array_equal(neighbours.similarities_QL[query], similarities_QL[0])


@pytest.mark.parametrize("among", [[], [1, 0], [0, 0], [2], [-1]])
def test_top_neighbours__refuses_shards_that_are_not_there(among: list[int]) -> None:
    embeddings_ND = unit_rows(np.random.default_rng(3), 30, 8)
    with pytest.raises(ValueError, match="ascending"):
        top_neighbours([embeddings_ND[:10], embeddings_ND[10:]], [0], count=1, among=among)  # type: ignore[arg-type]
