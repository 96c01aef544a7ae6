"""The batch stream as a dataset of torch. Only this module imports torch; no other module imports it.

dataset = BatchDataset("http://127.0.0.1:8000", curation, BatchRequest(global_batch=256), transform=decode)
loader = DataLoader(dataset, batch_size=None, num_workers=4)
for epoch in range(30):
    dataset.set_epoch(epoch)
    for images, texts in loader:
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from cocu.client.batches import Batch, BatchRequest
from cocu.client.client import CocuClient

__all__ = ["BatchDataset"]


class BatchDataset(IterableDataset):  # type: ignore[misc,type-arg,unused-ignore] # torch may be missing
    """The batches of one rank, epoch after epoch; for a DataLoader with batch_size=None.

    Each worker of a DataLoader acts as a rank: with W workers, W items in a row, one from each worker, are
    the rank's part of one global batch. Items are `Batch`, or the result of `transform` on a `Batch`, which
    runs in the worker (decode images, tokenise). A short last global batch gives empty batches to some
    workers, unless the request has drop_last; `transform` gets these too.
    """

    def __init__(
        self,
        base_url: str,
        curation: str,
        request: BatchRequest | None = None,
        *,
        api_key: str | None = None,
        transform: Callable[[Batch], Any] | None = None,
        prefetch: int = 2,
        reconnects: int = 8,
        timeout: float = 60.0,
    ) -> None:
        super().__init__()
        self._connection = {"base_url": base_url, "api_key": api_key, "timeout": timeout}
        self._curation = curation
        self._request = request or BatchRequest()
        self._transform = transform
        self._stream_options = {"prefetch": prefetch, "reconnects": reconnects}
        # In shared memory, so that persistent workers see the next epoch.
        # Some versions of torch give this function no types.
        position: Any = torch.tensor([self._request.epoch, self._request.start])
        self._position = position.share_memory_()

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Set the epoch of the next iteration, and its first global batch."""
        self._position[0], self._position[1] = epoch, start

    def request(self) -> BatchRequest:
        """The request of this process, as a rank or as a worker of a rank."""
        worker = get_worker_info()
        workers, number = (1, 0) if worker is None else (worker.num_workers, worker.id)
        epoch, start = self._position.tolist()
        return replace(
            self._request,
            epoch=epoch,
            start=start,
            rank=self._request.rank * workers + number,
            world_size=self._request.world_size * workers,
        )

    def __iter__(self) -> Iterator[Any]:
        with CocuClient(**self._connection) as client:  # type: ignore[arg-type]
            for batch in client.batches.stream(self._curation, self.request(), **self._stream_options):
                yield batch if self._transform is None else self._transform(batch)
