from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.neighbours.naive import naive_neighbours, unit_rows

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.errors import IntegrityError
from cocu.neighbours.exact import available_engine, top_neighbours


def shards_of(embeddings_ND: NDArray[np.float16], cuts: list[int]) -> list[NDArray[np.float16]]:
    edges = [0, *sorted(cut % (len(embeddings_ND) + 1) for cut in cuts), len(embeddings_ND)]
    return [embeddings_ND[low:high] for low, high in pairwise(edges)]


@st.composite
def stored_embeddings(draw: st.DrawFn) -> NDArray[np.float16]:
    """Small coordinates make ties, copies and zero vectors common; the scale keeps norms below 1."""
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 6)))
    steps_ND = draw(arrays.arrays(np.int8, shape, elements=st.integers(-2, 2)))
    return (steps_ND / 8).astype(np.float16)


@settings(deadline=None, max_examples=60)
@given(
    embeddings_ND=stored_embeddings(),
    count=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    group_count=st.none() | st.integers(1, 10),
)
def test_top_neighbours__is_the_naive_computation(
    embeddings_ND: NDArray[np.float16], count: int, cuts: list[int], group_count: int | None
) -> None:
    groups = None if group_count is None else [row * 7 % group_count for row in range(len(embeddings_ND))]
    neighbours = top_neighbours(
        shards_of(embeddings_ND, cuts),
        range(len(embeddings_ND)),
        count=count,
        groups_N=None if groups is None else np.array(groups, np.int64),
        threads=1,
    )
    ids_QL, similarities_QL = naive_neighbours(embeddings_ND, list(range(len(embeddings_ND))), count, groups)
    np.testing.assert_array_equal(neighbours.ids_QL, ids_QL)
    np.testing.assert_array_equal(neighbours.similarities_QL, similarities_QL)


@pytest.mark.parametrize("memory", [1, 3 << 20, 1 << 30])
@pytest.mark.parametrize("threads", [1, 3])
def test_top_neighbours__does_not_depend_on_tiles_or_threads(memory: int, threads: int) -> None:
    random = np.random.default_rng(0)
    embeddings_ND = unit_rows(random, 4500, 48)
    embeddings_ND[random.integers(0, 4500, 1500)] = embeddings_ND[17]  # far more copies than a list is long
    shards = shards_of(embeddings_ND, [900, 901, 4000])
    queries_Q = random.permutation(4500)[:40]
    neighbours = top_neighbours(shards, queries_Q, count=9, memory=memory, threads=threads)
    ids_QL, similarities_QL = naive_neighbours(embeddings_ND, queries_Q.tolist(), 9)
    np.testing.assert_array_equal(neighbours.ids_QL, ids_QL)
    np.testing.assert_array_equal(neighbours.similarities_QL, similarities_QL)


def test_top_neighbours__ranks_what_float32_cannot_tell_apart() -> None:
    """Rows whose cosines with the query differ by less than a float32 product of 512 numbers resolves."""
    random = np.random.default_rng(1)
    centre_D = random.standard_normal(512)
    rows_ND = centre_D + 1e-3 * random.standard_normal((3000, 512))
    embeddings_ND = (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float16)
    neighbours = top_neighbours([embeddings_ND], range(50), count=16)
    ids_QL, _ = naive_neighbours(embeddings_ND, list(range(50)), 16)
    np.testing.assert_array_equal(neighbours.ids_QL, ids_QL)


def test_top_neighbours__one_row_has_no_neighbours() -> None:
    neighbours = top_neighbours([unit_rows(np.random.default_rng(0), 1, 4)], range(1), count=3)
    assert neighbours.ids_QL.tolist() == [[NO_NEIGHBOUR] * 3]
    assert neighbours.similarities_QL.tolist() == [[0.0] * 3]


def test_top_neighbours__identical_rows_come_by_id_without_the_query() -> None:
    embeddings_ND = np.repeat(unit_rows(np.random.default_rng(0), 1, 8), 6, axis=0)
    neighbours = top_neighbours([embeddings_ND], range(6), count=3)
    assert neighbours.ids_QL.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]]


def test_top_neighbours__zero_vectors_are_similar_to_nothing() -> None:
    embeddings_ND = unit_rows(np.random.default_rng(0), 5, 8)
    embeddings_ND[3] = 0
    neighbours = top_neighbours([embeddings_ND], range(3, 4), count=4)
    assert neighbours.ids_QL.tolist() == [[0, 1, 2, 4]]
    assert neighbours.similarities_QL.tolist() == [[0.0] * 4]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 60000.0])
def test_top_neighbours__refuses_what_is_no_embedding(wrong: float) -> None:
    embeddings_ND = unit_rows(np.random.default_rng(0), 20, 8)
    embeddings_ND[13, 2] = wrong
    with pytest.raises(IntegrityError, match="row 13"):
        top_neighbours([embeddings_ND[:10], embeddings_ND[10:]], range(2), count=2)


def test_top_neighbours__refuses_shards_that_do_not_fit_together() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(IntegrityError, match="shard 1"):
        top_neighbours([unit_rows(random, 4, 8), unit_rows(random, 4, 6)], range(2), count=2)
    floats_ND = unit_rows(random, 4, 8).astype(np.float32)
    with pytest.raises(IntegrityError, match="shard 0"):
        top_neighbours([floats_ND], range(2), count=2)  # type: ignore[list-item]


def test_top_neighbours__refuses_wrong_arguments() -> None:
    embeddings_ND = unit_rows(np.random.default_rng(0), 4, 8)
    with pytest.raises(ValueError, match="count"):
        top_neighbours([embeddings_ND], range(4), count=0)
    with pytest.raises(ValueError, match="between 0 and 3"):
        top_neighbours([embeddings_ND], range(5), count=1)
    with pytest.raises(ValueError, match="4 rows"):
        top_neighbours([embeddings_ND], range(4), count=1, groups_N=np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="at least one shard"):
        top_neighbours([], range(0), count=1)


def test_top_neighbours__of_no_rows_is_empty() -> None:
    neighbours = top_neighbours([unit_rows(np.random.default_rng(0), 4, 8)], range(0), count=2)
    assert neighbours.ids_QL.shape == neighbours.similarities_QL.shape == (0, 2)


def test_top_neighbours__reads_memory_mapped_files(tmp_path: Path) -> None:
    embeddings_ND = unit_rows(np.random.default_rng(0), 300, 16)
    shards = []
    for number, shard_ND in enumerate(shards_of(embeddings_ND, [100, 250])):
        np.save(tmp_path / f"{number}.npy", shard_ND)
        shards.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    neighbours = top_neighbours(shards, range(300), count=5)
    np.testing.assert_array_equal(neighbours.ids_QL, naive_neighbours(embeddings_ND, list(range(300)), 5)[0])


def test_available_engine__names_one_that_exists() -> None:
    assert available_engine() in {"cpu", "cuda"}
