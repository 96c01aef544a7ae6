"""Batches of a platform as tensors: any workers, any ranks, any place to start."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.training.data.platforms import Served
from tests.training.data.streams import CONFIGURATION, assert_equal, epoch_of, opened

from cocu_training import distributed
from cocu_training.data import stream
from cocu_training.data.arms import NO_CONCEPT
from cocu_training.errors import ConfigurationError, DataError

pytestmark = [
    pytest.mark.slow,
    # More workers than processors are slow, and right all the same.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]


def test_epochs_have_whole_batches_of_the_shapes_of_the_model(served: Served) -> None:
    stream = opened(served)
    assert stream.batches_per_epoch == 3
    batches = list(stream.samples(0, start=0))
    assert [batch.number for batch in batches] == [0, 1, 2]
    for batch in batches:
        assert batch.pixels_B3HW.shape == (8, 3, 32, 32)
        assert batch.pixels_B3HW.dtype == torch.uint8
        assert batch.tokens_BJT.shape == (8, 4, 24)
        assert batch.ids_BK.shape == (8, 3)
        # Where a text names no concept it is the caption, token by token.
        padded_BK = batch.ids_BK == NO_CONCEPT
        is_caption_BK = (batch.tokens_BJT[:, 1:] == batch.tokens_BJT[:, :1]).all(dim=2)
        assert torch.equal(padded_BK, is_caption_BK)
    assert all((batch.ids_BK != NO_CONCEPT).any() for batch in batches)


def test_a_place_in_an_epoch_has_the_same_pixels_and_texts_whenever_it_is_asked_for(served: Served) -> None:
    stream = opened(served)
    first, second = list(stream.samples(0, start=0)), list(stream.samples(1, start=0))
    assert_equal(list(opened(served).samples(1, start=1)), second[1:])
    assert_equal(list(stream.samples(0, start=2)), first[2:])
    assert not torch.equal(first[0].pixels_B3HW, second[0].pixels_B3HW)
    assert list(stream.samples(0, start=3)) == []


def test_any_number_of_workers_gives_one_rank_the_same(served: Served) -> None:
    expected = [list(opened(served).samples(epoch, start=epoch)) for epoch in (0, 1)]
    with opened(served, CONFIGURATION.with_(workers=2)) as stream:
        for epoch in (0, 1):
            assert_equal(list(stream.samples(epoch, start=epoch)), expected[epoch])


def test_ranks_have_disjoint_parts_of_the_same_batch(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(opened(served).samples(0, start=1))
    for rank in range(2):
        for module in (distributed, stream):
            monkeypatch.setattr(module, "world", lambda rank=rank: (rank, 2))
        part = list(opened(served).samples(0, start=1))
        for of_rank, of_all in zip(part, whole, strict=True):
            assert all(torch.equal(a, b[rank::2]) for a, b in zip(of_rank[1:], of_all[1:], strict=True))


@pytest.mark.parametrize("arm", ["caption", "caption_nouns", "topk"])
def test_every_arm_streams(served: Served, arm: Any) -> None:
    texts = 0 if arm == "caption" else 3
    (first, *_) = opened(served, CONFIGURATION.with_(arm=arm)).samples(0, start=0)
    assert first.tokens_BJT.shape == (8, 1 + texts, 24)
    assert first.ids_BK.shape == (8, texts)


def test_what_does_not_fit_the_curation_is_refused(served: Served) -> None:
    with pytest.raises(ConfigurationError, match="fewer than one batch"):
        opened(served, CONFIGURATION.with_(global_batch=64))
    with pytest.raises(ConfigurationError, match="cannot be divided among"):
        opened(served, CONFIGURATION.with_(workers=3))


def test_a_image_that_cannot_be_decoded_is_named(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise DataError("an image cannot be decoded: truncated")

    monkeypatch.setattr(stream.Augmentation, "__call__", broken)
    with pytest.raises(DataError, match=r"sample '\d{3}' of batch 0: an image cannot be decoded"):
        next(opened(served).samples(0, start=0))


@pytest.mark.parametrize("workers", [0, 2])
def test_another_epoch_ends_the_one_before_it_and_closing_ends_them_all(served: Served, workers: int) -> None:
    expected = epoch_of(served)
    with opened(served, CONFIGURATION.with_(workers=workers)) as stream:
        before = stream.samples(1, start=0)
        next(before)
        assert_equal(list(stream.samples(0, start=0)), expected)
        assert list(before) == []
        last = stream.samples(2, start=0)
        next(last)
    assert list(last) == []
    with pytest.raises(ValueError, match="closed"):
        stream.samples(0, start=0)
