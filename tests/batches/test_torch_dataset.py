"""The dataset of torch; skipped where torch is not installed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.batches.conftest import Curated

from cocu.client import Batch, BatchRequest, CocuClient

pytest.importorskip("torch", reason="torch is not installed")
pytestmark = [
    pytest.mark.slow,
    # Three workers on two processors are slow, and right all the same.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]

REQUEST = BatchRequest(global_batch=8, seed=4, images=False)


def number_and_keys(batch: Batch) -> tuple[int, list[str]]:
    return batch.number, batch.keys


def whole(curated: Curated, request: BatchRequest, **changes: Any) -> list[list[str]]:
    with CocuClient(curated.server.url) as client:
        return [batch.keys for batch in client.batches.stream(curated.curation.id, request, **changes)]


def joined(items: list[tuple[int, list[str]]], batches: int) -> list[Counter[str]]:
    """Return the keys of every global batch, from all ranks and workers."""
    counts: list[Counter[str]] = [Counter() for _ in range(batches)]
    for number, keys in items:
        counts[number].update(keys)
    return counts


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers__together_give_the_part_of_their_rank(curated: Curated, workers: int) -> None:
    from torch.utils.data import DataLoader

    from cocu.client.torch_dataset import BatchDataset

    items: list[tuple[int, list[str]]] = []
    for rank in range(2):
        request = BatchRequest(**{**vars(REQUEST), "rank": rank, "world_size": 2})
        dataset = BatchDataset(curated.server.url, curated.curation.id, request, transform=number_and_keys)
        loader = DataLoader(
            dataset, batch_size=None, num_workers=workers, multiprocessing_context=_context(workers)
        )
        of_rank = list(loader)
        assert [number for number, _ in of_rank] == sorted([*range(7)] * max(workers, 1))
        items += of_rank
    expected = [Counter(keys) for keys in whole(curated, REQUEST)]
    assert joined(items, len(expected)) == expected


def test_epochs__are_seen_by_workers_that_live_on(curated: Curated) -> None:
    from torch.utils.data import DataLoader

    from cocu.client.torch_dataset import BatchDataset

    dataset = BatchDataset(curated.server.url, curated.curation.id, REQUEST, transform=number_and_keys)
    loader = DataLoader(
        dataset, batch_size=None, num_workers=1, persistent_workers=True, multiprocessing_context=_context(1)
    )
    for epoch, start in ((0, 0), (1, 0), (2, 3)):
        dataset.set_epoch(epoch, start=start)
        assert [keys for _, keys in loader] == whole(curated, REQUEST, epoch=epoch, start=start)


def test_batches__themselves_come_out_of_workers(curated: Curated) -> None:
    from torch.utils.data import DataLoader

    from cocu.client.torch_dataset import BatchDataset

    dataset = BatchDataset(curated.server.url, curated.curation.id, BatchRequest(global_batch=8, seed=4))
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context=_context(1))
    for batch in loader:
        assert {key: bytes(image) for key, image in zip(batch.keys, batch.images, strict=True)} == {
            key: curated.images[key] for key in batch.keys
        }


def _context(workers: int) -> str | None:
    # This process has threads of a server in it, which a fork would copy half.
    return "spawn" if workers else None
