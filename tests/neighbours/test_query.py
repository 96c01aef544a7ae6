from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.neighbours.naive import unit_rows

from cocu.errors import IntegrityError
from cocu.neighbours import query
from cocu.neighbours.query import cosines, nearest

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def exact_cosines(embeddings_ND: NDArray[np.float16], query_D: NDArray[np.float32]) -> NDArray[np.float64]:
    rows_ND, vector_D = embeddings_ND.astype(np.float64), query_D.astype(np.float64)
    lengths_N = np.linalg.norm(rows_ND, axis=1) * np.linalg.norm(vector_D)
    return np.divide(rows_ND @ vector_D, lengths_N, out=np.zeros(len(rows_ND)), where=lengths_N > 0)


def check_every_half() -> None:
    """Every finite half enters as numpy reads it: its cosine with (1, 0) is that of (half, companion)."""
    finite_N = HALVES[np.isfinite(HALVES)]
    companions_N = np.where(np.abs(finite_N) < 1, 1, 60_000).astype(np.float16)
    embeddings_ND = np.stack([finite_N, companions_N], axis=1)
    query_D = np.array([1, 0], np.float32)
    np.testing.assert_allclose(
        cosines(embeddings_ND, query_D), exact_cosines(embeddings_ND, query_D), rtol=4e-7, atol=0
    )


@settings(deadline=None, max_examples=100)
@given(data=st.data(), shape=st.tuples(st.integers(0, 30), st.integers(1, 70)))
def test_cosines__are_exact_to_the_rounding_of_float32(data: st.DataObject, shape: tuple[int, int]) -> None:
    coordinates = st.floats(-1000, 1000, width=16)
    embeddings_ND = data.draw(arrays.arrays(np.float16, shape, elements=coordinates))
    query_D = data.draw(
        arrays.arrays(
            np.float32, shape[1], elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
        )
    )
    found_N = cosines(embeddings_ND, query_D)
    bound = (1.5 * shape[1] + 4) * 2.0**-24
    assert found_N.dtype == np.float32
    np.testing.assert_allclose(found_N, exact_cosines(embeddings_ND, query_D), rtol=0, atol=bound)
    assert (np.abs(found_N) <= 1).all()


def test_cosines__lose_nothing_to_the_halves_that_are_stored() -> None:
    random = np.random.default_rng(0)
    embeddings_ND = (unit_rows(random, 3000, 512) * random.uniform(0.1, 3, (3000, 1))).astype(np.float16)
    for query_D in random.standard_normal((10, 512)).astype(np.float32):
        found_N = cosines(embeddings_ND, query_D)
        np.testing.assert_allclose(found_N, exact_cosines(embeddings_ND, query_D), rtol=0, atol=3e-7)


def test_cosines__read_every_half_as_numpy_does() -> None:
    check_every_half()


def test_cosines__read_every_half_where_the_processor_has_no_instruction_for_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", "from tests.neighbours.test_query import check_every_half as c; c()"],
        env=os.environ
        | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)},
        check=True,
    )


@pytest.mark.parametrize("not_finite", HALVES[~np.isfinite(HALVES)][[0, 1, 1023, 1024, 1025]])
def test_cosines__name_the_row_that_is_not_finite(not_finite: np.float16) -> None:
    embeddings_ND = np.ones((9, 3), np.float16)
    embeddings_ND[7, 1] = not_finite
    for query_D in (np.array([1, 2, 3], np.float32), np.array([1, 0, 0], np.float32)):
        with pytest.raises(IntegrityError, match="row 7 is not finite"):
            cosines(embeddings_ND, query_D, np.array([0, 7, 8]))
        assert len(cosines(embeddings_ND, query_D, np.array([0, 6, 8]))) == 3


def test_cosines__are_0_with_a_row_of_zeros_and_for_a_query_of_zeros() -> None:
    embeddings_ND = np.array([[0, 0], [1, 1], [-0.0, 0]], np.float16)
    assert cosines(embeddings_ND, np.array([1, 1], np.float32)).tolist() == [0, 1, 0]
    assert cosines(embeddings_ND, np.zeros(2, np.float32)).tolist() == [0, 0, 0]


def test_cosines__have_the_same_bits_for_chosen_rows_any_array_and_many_threads() -> None:
    random = np.random.default_rng(1)
    embeddings_ND = unit_rows(random, 2000, 77)
    query_D = random.standard_normal(77).astype(np.float32)
    whole_N = cosines(embeddings_ND, query_D)
    rows_R = random.integers(0, 2000, 500)
    np.testing.assert_array_equal(cosines(embeddings_ND, query_D, rows_R), whole_N[rows_R])
    np.testing.assert_array_equal(cosines(embeddings_ND[3:9], query_D), whole_N[3:9])
    np.testing.assert_array_equal(cosines(np.asfortranarray(embeddings_ND), query_D), whole_N)
    np.testing.assert_array_equal(cosines(np.repeat(embeddings_ND, 2, 1)[:, ::2], query_D), whole_N)
    with ThreadPoolExecutor(8) as pool:
        for found_N in pool.map(lambda _: cosines(embeddings_ND, query_D), range(40)):
            np.testing.assert_array_equal(found_N, whole_N)


def test_cosines__leave_the_arrays_of_the_caller_as_they_are(tmp_path: Path) -> None:
    embeddings_ND, query_D = np.ones((4, 3), np.float16), np.ones(3, np.float32)
    np.save(tmp_path / "shard.npy", embeddings_ND)
    mapped_ND = np.load(tmp_path / "shard.npy", mmap_mode="r")
    rows_R = np.arange(4)
    np.testing.assert_array_equal(cosines(mapped_ND, query_D), cosines(embeddings_ND, query_D, rows_R))
    assert all(array.flags.writeable for array in (embeddings_ND, query_D, rows_R))
    assert (embeddings_ND == 1).all()


def test_cosines__compute_without_the_lock_of_python() -> None:
    bits_ND = np.ones((8, 512), np.float16).view(np.uint16)
    unit_D, rows_R = np.ones(512, np.float32), np.tile(np.arange(8), 50_000)
    cosines_R = np.empty(len(rows_R), np.float32)
    query._score(bits_ND, unit_D, rows_R[:8], cosines_R)  # compiles
    began, ended = threading.Event(), threading.Event()

    def compute() -> None:
        began.set()
        query._score(bits_ND, unit_D, rows_R, cosines_R)
        ended.set()

    def runs_meanwhile() -> bool:
        began.clear()
        ended.clear()
        thread = threading.Thread(target=compute)
        thread.start()
        began.wait()
        ran_meanwhile = not ended.is_set()
        thread.join()
        return ran_meanwhile

    interval = sys.getswitchinterval()
    # A thread that keeps the lock is not asked for it before it ends.
    sys.setswitchinterval(1000)
    try:
        # On a busy machine this thread may have no core while the other computes.
        assert any(runs_meanwhile() for _ in range(50))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("embeddings_ND", "message"),
    [
        (np.ones((2, 3), np.float32), r"float32 \[2, 3\], not float16 \[n, 3\]"),
        (np.ones((2, 4), np.float16), r"float16 \[2, 4\], not float16 \[n, 3\]"),
        (np.ones(3, np.float16), r"float16 \[3\], not float16 \[n, 3\]"),
    ],
)
def test_cosines__refuse_other_embeddings(embeddings_ND: NDArray[np.float16], message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        cosines(embeddings_ND, np.ones(3, np.float32))


@pytest.mark.parametrize("wrong", [np.ones((1, 3)), np.array([1, np.nan, 1]), np.array([1, np.inf, 1])])
def test_cosines__refuse_a_query_that_is_none(wrong: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="the query must be"):
        cosines(np.ones((2, 3), np.float16), wrong.astype(np.float32))


@pytest.mark.parametrize("row", [-1, 2])
def test_cosines__refuse_rows_that_are_not_there(row: int) -> None:
    with pytest.raises(ValueError, match="rows must be between 0 and 1"):
        cosines(np.ones((2, 3), np.float16), np.ones(3, np.float32), np.array([0, row]))


@settings(deadline=None, max_examples=100)
@given(
    steps_ND=arrays.arrays(
        np.int8, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=st.integers(-1, 1)
    ),
    limit=st.integers(0, 50),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    chosen=st.none() | st.integers(1, 5),
)
def test_nearest__is_the_head_of_all_rows_sorted(
    steps_ND: NDArray[np.int8], limit: int, cuts: list[int], chosen: int | None
) -> None:
    # Few values a coordinate: most cosines have equals, which stay in their order.
    embeddings_ND = steps_ND.astype(np.float16)
    query_D = np.arange(1, embeddings_ND.shape[1] + 1).astype(np.float32)
    edges = [0, *sorted(cut % (len(embeddings_ND) + 1) for cut in cuts), len(embeddings_ND)]
    shards = [embeddings_ND[low:high] for low, high in pairwise(edges)]
    rows = [None if chosen is None else np.arange(0, len(shard), chosen) for shard in shards]
    ranked = sorted(
        (-float(cosines(shard, query_D)[row]), number, row)
        for number, (shard, rows_R) in enumerate(zip(shards, rows, strict=True))
        for row in (range(len(shard)) if rows_R is None else rows_R.tolist())
    )[:limit]
    found = nearest(zip(shards, rows, strict=True), query_D, limit=limit)
    assert found.shards_K.tolist() == [number for _, number, _ in ranked]
    assert found.rows_K.tolist() == [row for _, _, row in ranked]
    assert found.cosines_K.tolist() == [-negated for negated, _, _ in ranked]


def test_nearest__finds_a_row_by_itself() -> None:
    embeddings_ND = unit_rows(np.random.default_rng(2), 3000, 64)
    shards = [(embeddings_ND[start : start + 1000], None) for start in (0, 1000, 2000)]
    for row in (0, 999, 1000, 2345):
        found = nearest(shards, embeddings_ND[row].astype(np.float32), limit=3)
        assert (found.shards_K[0], found.rows_K[0]) == divmod(row, 1000)
        assert 1 - 3e-7 <= found.cosines_K[0] <= 1


def test_nearest__takes_shards_one_at_a_time() -> None:
    held = 0

    def mapped() -> Iterator[tuple[NDArray[np.float16], None]]:
        nonlocal held
        for _ in range(5):
            held += 1
            yield np.ones((2, 3), np.float16), None
            held -= 1

    found = nearest(mapped(), np.ones(3, np.float32), limit=7)
    assert held == 0
    assert found.shards_K.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert found.rows_K.tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_nearest__of_nothing_is_empty() -> None:
    found = nearest([], np.ones(3, np.float32), limit=5)
    assert len(found.shards_K) == len(found.rows_K) == len(found.cosines_K) == 0
    no_rows = np.empty(0, np.int64)
    assert len(nearest([(np.ones((2, 3), np.float16), no_rows)], np.ones(3, np.float32), limit=5).rows_K) == 0


def test_nearest__refuses_a_negative_limit() -> None:
    with pytest.raises(ValueError, match="limit must be 0 or more, not -1"):
        nearest([], np.ones(3, np.float32), limit=-1)
