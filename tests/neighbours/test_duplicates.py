from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.neighbours.naive import naive_neighbours, unit_rows

from cocu.neighbours.duplicates import distinct_neighbours, group_duplicates
from cocu.neighbours.exact import top_neighbours


def test_group_duplicates__joins_equal_bytes_and_similar_images() -> None:
    ids_NK = np.array([[1, 2], [0, 2], [3, 0], [2, 0], [2, 3]])
    similarities_NK = np.array([[0.5, 0.4], [0.5, 0.4], [0.99, 0.4], [0.99, 0.3], [0.2, 0.1]], np.float32)
    groups = group_duplicates(hashes="abcda", lists=[(ids_NK, similarities_NK)], threshold=0.98)
    assert groups.groups_N.tolist() == [0, 1, 2, 2, 0]
    assert (groups.exact, groups.near, groups.saturated) == (1, 1, 0)


def test_group_duplicates__copies_of_copies_are_one_group_named_by_its_lowest_row() -> None:
    ids_NK = np.array([[3], [2], [1], [2]])
    similarities_NK = np.full((4, 1), 0.99, np.float32)
    groups = group_duplicates(hashes=range(4), lists=[(ids_NK, similarities_NK)], threshold=0.98)
    assert groups.groups_N.tolist() == [0, 0, 0, 0]
    assert groups.saturated == 4


def test_group_duplicates__takes_lists_shard_by_shard() -> None:
    random = np.random.default_rng(0)
    embeddings_ND = unit_rows(random, 60, 4)
    neighbours = top_neighbours([embeddings_ND], range(60), count=6)
    hashes = random.integers(0, 40, 60).tolist()
    whole = group_duplicates(hashes=hashes, lists=[neighbours], threshold=0.97)
    parts = [
        (neighbours.ids_QL[low : low + 7], neighbours.similarities_QL[low : low + 7])
        for low in range(0, 60, 7)
    ]
    np.testing.assert_array_equal(
        whole.groups_N, group_duplicates(hashes=hashes, lists=parts, threshold=0.97).groups_N
    )
    assert whole.near > 0


def test_group_duplicates__above_one_only_equal_bytes_count() -> None:
    embeddings_ND = np.repeat(unit_rows(np.random.default_rng(0), 1, 4), 3, axis=0)
    neighbours = top_neighbours([embeddings_ND], range(3), count=2)
    assert group_duplicates(hashes="aba", lists=[neighbours], threshold=1.01).groups_N.tolist() == [0, 1, 0]


def test_group_duplicates__wants_a_list_per_hash() -> None:
    with pytest.raises(ValueError, match="3 hashes"):
        group_duplicates(
            hashes="abc", lists=[(np.zeros((2, 1), np.int64), np.zeros((2, 1), np.float32))], threshold=1
        )


def test_group_duplicates__pads_are_no_copies() -> None:
    neighbours = top_neighbours([unit_rows(np.random.default_rng(0), 2, 4)], range(2), count=4)
    assert group_duplicates(hashes="ab", lists=[neighbours], threshold=-1.0).groups_N.tolist() == [0, 0]
    lone = top_neighbours([unit_rows(np.random.default_rng(0), 1, 4)], range(1), count=4)
    assert group_duplicates(hashes="a", lists=[lone], threshold=-1.0).groups_N.tolist() == [0]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 40),
    count=st.integers(1, 6),
    spare=st.integers(0, 6),
    group_count=st.integers(1, 40),
)
def test_distinct_neighbours__is_the_naive_computation_however_short_the_raw_lists(
    seed: int, rows: int, count: int, spare: int, group_count: int
) -> None:
    random = np.random.default_rng(seed)
    embeddings_ND = unit_rows(random, rows, 3)
    embeddings_ND[random.integers(0, rows, rows // 2)] = embeddings_ND[0]
    groups_N = random.integers(0, group_count, rows)
    raw = top_neighbours([embeddings_ND], range(rows), count=count + spare)
    neighbours = distinct_neighbours(
        [embeddings_ND],
        range(rows),
        ids_BK=raw.ids_QL,
        similarities_BK=raw.similarities_QL,
        groups_N=groups_N,
        count=count,
    )
    ids_BL, similarities_BL = naive_neighbours(embeddings_ND, list(range(rows)), count, groups_N.tolist())
    np.testing.assert_array_equal(neighbours.ids_BL, ids_BL)
    np.testing.assert_array_equal(neighbours.similarities_BL, similarities_BL)


def test_distinct_neighbours__counts_the_rows_it_searched_again() -> None:
    embeddings_ND = unit_rows(np.random.default_rng(0), 30, 4)
    embeddings_ND[:20] = embeddings_ND[0]
    groups_N = np.arange(30)
    groups_N[:20] = 0
    raw = top_neighbours([embeddings_ND], range(30), count=4)
    neighbours = distinct_neighbours(
        [embeddings_ND],
        range(30),
        ids_BK=raw.ids_QL,
        similarities_BK=raw.similarities_QL.astype(np.float16),
        groups_N=groups_N,
        count=3,
    )
    assert neighbours.refilled >= 20
    assert neighbours.similarities_BL.dtype == np.float16
    np.testing.assert_array_equal(
        neighbours.ids_BL, naive_neighbours(embeddings_ND, list(range(30)), 3, groups_N.tolist())[0]
    )


def test_without_images_only_all_but_equal_vectors_are_copies() -> None:
    lists = [
        (
            np.array([[1, 2], [0, 2], [0, 3], [2, 0]]),
            np.array([[0.998, 0.97], [0.998, 0.9], [0.97, 0.9995], [0.9995, 0.1]]),
        )
    ]
    hashes, phashes_N = list("abcd"), np.zeros(4, np.uint64)
    grouped = group_duplicates(
        hashes=hashes,
        lists=lists,
        threshold=0.95,
        phashes_N=phashes_N,
        has_phash_N=np.array([True, True, False, False]),
    )
    # 0 and 1 have similar images; 2 and 3 have none, and nearly one vector.
    assert grouped.groups_N.tolist() == [0, 0, 2, 2]
    nobody = group_duplicates(
        hashes=hashes,
        lists=lists,
        threshold=0.95,
        phashes_N=phashes_N,
        has_phash_N=np.zeros(4, bool),
    )
    assert nobody.groups_N.tolist() == [0, 1, 2, 2]
