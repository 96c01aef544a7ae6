"""The order of samples: a permutation, resumable, the same for any world size, nearly sequential within a
shard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from cocu.curation.sample_order import RUN, SHARDS_TOGETHER, batch_count, rank_share, sample_order

SIZES = [300, 500, 0, 1, 133] * 5


def _order(sizes=SIZES, **names):
    return sample_order(sizes, **{"curation_hash": "c", "seed": 0, "epoch": 0, **names})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 400), max_size=40), st.integers(0, 5))
def test_every_sample_comes_once(sizes, epoch):
    rows = _order(sizes, epoch=epoch).rows(0, sum(sizes))
    np.testing.assert_array_equal(np.sort(rows), np.arange(sum(sizes)))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, sum(SIZES)), st.integers(0, 3000))
def test_any_part_can_be_had_alone(start, length):
    order = _order()
    whole = order.rows(0, len(order))
    np.testing.assert_array_equal(order.rows(start, start + length), whole[start : start + length])


def test_orders_differ_between_epochs_seeds_and_curations():
    orders = [
        _order(**names).rows(0, 500).tolist()
        for names in ({}, {"epoch": 1}, {"seed": 1}, {"curation_hash": "d"})
    ]
    assert all(a != b for number, a in enumerate(orders) for b in orders[:number])
    assert orders[0] == _order().rows(0, 500).tolist()


@settings(deadline=None, max_examples=40)
@given(global_batch=st.integers(20, 3000), world_size=st.integers(1, 9), start=st.integers(0, 5))
def test_a_global_batch_is_the_same_set_for_any_world_size(global_batch, world_size, start):
    order = _order()
    batches = list(order.batches(global_batch))
    assert len(batches) == batch_count(len(order), global_batch)
    for batch, resumed in zip(batches[start:], order.batches(global_batch, start=start), strict=True):
        np.testing.assert_array_equal(batch, resumed)
        shares = [rank_share(resumed, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert sorted(np.concatenate(shares)) == sorted(batch)


def test_the_last_batch_may_be_dropped():
    order = _order([10])
    assert [len(batch) for batch in order.batches(4)] == [4, 4, 2]
    assert [len(batch) for batch in order.batches(4, drop_last=True)] == [4, 4]


def test_a_shard_is_read_run_after_run():
    sizes = [5_000] * 40
    order = _order(sizes)
    rows = order.rows(0, len(order))
    for shard in (0, 17, 39):
        read = (rows[rows // 5_000 == shard] - 5_000 * shard).tolist()
        first = set(read[:RUN])
        begin = next(row for row in first if (row - 1) % 5_000 not in first)
        for position in range(0, 5_000, RUN):
            run = [(begin + row) % 5_000 for row in range(position, min(position + RUN, 5_000))]
            assert set(read[position : position + RUN]) == set(run)
            assert read[position : position + RUN] != run


def test_neighbours_in_a_shard_are_mixed_with_other_shards():
    order = _order([5_000] * 40)
    shards = order.rows(0, 1024) // 5_000
    assert len(np.unique(shards)) == SHARDS_TOGETHER
    assert np.mean(shards[1:] == shards[:-1]) < 0.2


def test_first_places_are_spread_evenly_over_the_samples():
    sizes = [50] * 8
    firsts = [int(_order(sizes, epoch=epoch).rows(0, 1)[0]) // 20 for epoch in range(4000)]
    assert chisquare(np.bincount(firsts, minlength=20)).pvalue > 1e-4


def test_a_large_order_is_not_computed_before_it_is_asked_for():
    order = _order([10_000] * 5_000)
    assert len(order) == 50_000_000
    assert len(order.rows(49_999_000, 50_000_100)) == 1000


def test_refuses_what_there_is_not():
    with pytest.raises(ValueError, match="fewer than no samples"):
        _order([3, -1])
    with pytest.raises(ValueError, match="global_batch"):
        batch_count(10, 0)
    with pytest.raises(ValueError, match="rank"):
        rank_share(np.arange(4), rank=2, world_size=2)


def test_the_order_is_the_same_on_every_machine():
    """Pinned: a trainer must be able to resume an epoch after an upgrade."""
    assert _order([3, 4, 2]).rows(0, 9).tolist() == [5, 4, 1, 8, 6, 3, 2, 0, 7]
