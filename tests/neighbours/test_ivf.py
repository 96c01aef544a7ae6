from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cocu.errors import IntegrityError
from cocu.neighbours import top_neighbours
from cocu.neighbours.ivf import IvfIndex, build, cell_count, choose_nprobe, search


def rows(count: int, dim: int, seed: int, *, copies: float = 0.0) -> NDArray[np.float16]:
    """Unit rows around a few directions; a share of them are copies of others, for ties."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((5, dim))
    rows_ND = centres[random.integers(0, 5, count)] + 0.5 * random.standard_normal((count, dim))
    rows_ND /= np.linalg.norm(rows_ND, axis=1, keepdims=True)
    copied = random.random(count) < copies
    rows_ND[copied] = rows_ND[random.integers(0, count, int(copied.sum()))]
    return rows_ND.astype(np.float16)


def halves(rows_ND: NDArray[np.float16]) -> list[NDArray[np.float16]]:
    return [rows_ND[: len(rows_ND) // 3], rows_ND[len(rows_ND) // 3 :]]


@settings(max_examples=40)
@given(count=st.integers(2, 90), seed=st.integers(0, 99), copies=st.sampled_from([0.0, 0.5]))
def test_with_every_cell_probed_the_lists_are_those_of_the_exact_search(
    count: int, seed: int, copies: float
) -> None:
    rows_ND = rows(count, 16, seed, copies=copies)
    index = build([rows_ND], cells=cell_count(count))
    neighbours = search(
        index,
        rows_ND[index.ids_N],
        rows_ND.astype(np.float32),
        np.arange(count),
        count=5,
        nprobe=len(index),
    )
    exact = top_neighbours([rows_ND], range(count), count=5)
    np.testing.assert_array_equal(neighbours.ids_QL, exact.ids_QL)
    np.testing.assert_array_equal(neighbours.similarities_QL, exact.similarities_QL)


@given(count=st.integers(1, 200), cells=st.integers(1, 20), seed=st.integers(0, 9))
def test_every_row_is_in_one_cell_that_of_its_nearest_centre(count: int, cells: int, seed: int) -> None:
    rows_ND = rows(count, 8, seed)
    index = build([rows_ND], cells=min(cells, count), seed=seed)
    assert sorted(index.ids_N.tolist()) == list(range(count))
    products_NK = rows_ND.astype(np.float64) @ index.centres_KD.astype(np.float64).T
    for cell in range(len(index)):
        inside = index.ids_N[index.offsets_K1[cell] : index.offsets_K1[cell + 1]]
        assert (np.diff(inside) > 0).all()
        # Sums in float64 by another order may differ in the last bit.
        assert (products_NK[inside, cell] >= products_NK[inside].max(axis=1) - 1e-12).all()


def test_cells_and_lists_do_not_depend_on_shards_threads_or_the_block_of_a_query() -> None:
    rows_ND = rows(3_000, 32, 0, copies=0.1)
    whole = build([rows_ND], cells=16, threads=1)
    in_shards = build(halves(rows_ND), cells=16, threads=3)
    for left, right in ((whole.centres_KD, in_shards.centres_KD), (whole.ids_N, in_shards.ids_N)):
        np.testing.assert_array_equal(left, right)
    queries_QD = rows_ND.astype(np.float32)
    together = probe(whole, rows_ND, queries_QD, np.arange(3_000))
    alone = probe(whole, rows_ND, queries_QD[1_234:1_240], np.arange(1_234, 1_240))
    np.testing.assert_array_equal(together[1_234:1_240], alone)


def probe(
    index: IvfIndex, rows_ND: NDArray[np.float16], queries_QD: NDArray[np.float32], own_Q: NDArray[np.int64]
) -> NDArray[np.int64]:
    return search(index, rows_ND[index.ids_N], queries_QD, own_Q, count=8, nprobe=3, threads=2).ids_QL


def test_the_probes_reach_the_recall_that_is_asked_for() -> None:
    rows_ND = rows(4_000, 64, 1)
    index = build([rows_ND], cells=64)
    ordered_ND = rows_ND[index.ids_N]
    chosen = choose_nprobe(index, ordered_ND, halves(rows_ND), count=8, recall=0.9)
    assert 1 < chosen.nprobe < 64, "the data should need some cells, not all"
    assert chosen.recall >= 0.9
    own_Q = np.arange(4_000)
    neighbours = search(index, ordered_ND, rows_ND.astype(np.float32), own_Q, count=8, nprobe=chosen.nprobe)
    exact = top_neighbours([rows_ND], own_Q, count=8)
    overlap = [len(set(a) & set(b)) / 8 for a, b in zip(neighbours.ids_QL, exact.ids_QL, strict=True)]
    assert np.mean(overlap) == pytest.approx(chosen.recall, abs=0.03)
    assert choose_nprobe(index, ordered_ND, [rows_ND], count=8, recall=1.01) == (64, 1.0)


def test_rows_without_an_embedding_and_few_rows_do_no_harm() -> None:
    rows_ND = np.zeros((5, 8), np.float16)
    rows_ND[0, 0] = 1.0
    index = build([rows_ND], cells=2)
    neighbours = search(
        index, rows_ND[index.ids_N], rows_ND.astype(np.float32), np.arange(5), count=8, nprobe=2
    )
    assert neighbours.ids_QL[0].tolist() == [1, 2, 3, 4, -1, -1, -1, -1]


@pytest.mark.parametrize("cells", [0, 6])
def test_an_impossible_number_of_cells_is_refused(cells: int) -> None:
    with pytest.raises(ValueError, match="5 rows can be split into 1 to 5 cells"):
        build([rows(5, 8, 0)], cells=cells)


def test_embeddings_that_are_none_are_refused() -> None:
    broken_ND = rows(9, 8, 0)
    broken_ND[4] = np.nan
    with pytest.raises(IntegrityError, match="row 4"):
        build([broken_ND], cells=3)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 3), (100, 16), (1_000_000, 2_048)])
def test_the_number_of_cells_grows_with_the_root_of_the_rows(count: int, expected: int) -> None:
    assert cell_count(count) == expected
