"""Batches from the platform over HTTP as tensors on the device that trains.

Worker processes receive, decode, augment and tokenise; their tensors are copied to the device while the
previous step is computed. Everything is a function of (curation, seed, epoch, key), so a run resumed in
mid-epoch gets the same pixels and texts.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cocu.client import Batch, CocuClient
from cocu.client.torch_dataset import BatchDataset
from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.arms import Arm
from cocu_training.data.augmentation import Augmentation
from cocu_training.data.randomness import seed_of
from cocu_training.data.texts import Texts
from cocu_training.distributed import world
from cocu_training.errors import ConfigurationError, DataError

PREFETCHED = 3
"""The number of batches that each worker process prepares in advance."""


class Samples(NamedTuple):
    """One rank's part of one global batch, ready for the model.

    number: of the global batch in its epoch. pixels_B3HW: uint8. tokens_BJT: int64, the caption and then the
    K texts of each, J = 1 + K. ids_BK: int64, the concepts of the K texts, NO_CONCEPT for a caption.
    """

    number: int
    pixels_B3HW: Tensor
    tokens_BJT: Tensor
    ids_BK: Tensor


class Source(Protocol):
    """The source of a loop's samples."""

    batches_per_epoch: int

    def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
        """Yield the samples of an epoch from global batch `start` on, on the training device."""


@dataclass(frozen=True)
class Prepare:
    """Converts a batch of the platform to `Samples` on the host; runs in worker processes."""

    arm: Arm
    texts: Texts
    augmentation: Augmentation
    seed: int
    epoch: Tensor
    """int64 in shared memory, because worker processes live across epochs."""

    def __call__(self, batch: Batch) -> Samples:
        """Convert a batch. Raises DataError, naming the sample."""
        epoch = int(self.epoch)
        drawn = self.arm.draw(batch, epoch=epoch)
        texts = [
            text
            for caption, (texts, _) in zip(batch.captions, drawn, strict=True)
            for text in (caption, *texts)
        ]
        tokens_BJT = self.texts(texts).unflatten(0, (len(batch), 1 + self.arm.texts))
        ids_BK = torch.tensor([ids for _, ids in drawn], dtype=torch.int64).view(len(batch), self.arm.texts)
        return Samples(batch.number, self._pixels(batch, epoch), tokens_BJT, ids_BK)

    def _pixels(self, batch: Batch, epoch: int) -> Tensor:
        side = self.augmentation.size
        pixels_B3SS = np.empty((len(batch), 3, side, side), np.uint8)
        for position, (key, image) in enumerate(zip(batch.keys, batch.images, strict=True)):
            if image is None:
                raise DataError(
                    f"sample {key!r} came as an embedding, without its image: take a dataset with images"
                )
            try:
                pixels_B3SS[position] = self.augmentation(
                    image, seed=seed_of("pixels", self.seed, epoch, key)
                )
            except DataError as error:
                raise DataError(f"sample {key!r} of batch {batch.number}: {error}") from error
        return torch.from_numpy(pixels_B3SS)


class Stream:
    """A curation on a platform as a `Source`.

    Ranks read disjoint parts of every global batch, and so do the workers of a rank. With one rank, the order
    of the rows is the same for any number of workers. Broken connections are resumed. Raises
    ConfigurationError when the configuration does not fit the curation, and the client's errors.

    It is a context manager: worker processes live until it is closed or this process ends in any way.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        *,
        server: str,
        curation: str,
        api_key: str | None,
        texts: Texts,
        device: torch.device,
    ) -> None:
        rank, ranks = world()
        _check_shares(configuration, ranks)
        with CocuClient(server, api_key) as client:
            record = client.curations.get(curation)
        if not record.completed or record.content_hash is None:
            raise ConfigurationError(f"curation {curation} is {record.state}: wait until it is completed")
        self.content_hash = record.content_hash
        self.batches_per_epoch = record.samples // configuration.global_batch
        if not self.batches_per_epoch:
            raise ConfigurationError(
                f"curation {curation} has {record.samples} samples, fewer than one batch of "
                f"{configuration.global_batch}"
            )
        arm = Arm.of(configuration)
        self._device = device
        self._workers = max(configuration.workers, 1)
        self._current: Generator[Samples, None, None] | None = None
        self._closed = False
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._dataset = BatchDataset(
            server,
            curation,
            replace(arm.request, rank=rank, world_size=ranks),
            api_key=api_key,
            transform=Prepare(
                arm=arm,
                texts=texts,
                augmentation=augmentation_of(configuration, text_tokens=texts.tokens),
                seed=configuration.seed,
                epoch=self._epoch,
            ),
        )
        self._processes = _Processes()
        self._loader = DataLoader(
            self._dataset, batch_size=None, **_worker_options(configuration.workers, device, self._processes)
        )
        # At exit this must run before multiprocessing waits for its children, which outlive its signal.
        self._at_exit = partial(_close, weakref.ref(self), self._processes)
        atexit.register(self._at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
        """Yield the samples of an epoch from global batch `start` on, on the device; end an earlier
        iteration.

        Raises ValueError after `close`.
        """
        if self._closed:
            raise ValueError("the stream is closed: open another")
        if self._current is not None:
            self._current.close()
        self._current = self._samples(epoch, start)
        return self._current

    def close(self) -> None:
        """Kill the worker processes and wait until they are gone.

        A second call does nothing.
        """
        self._closed = True
        if self._current is not None:
            self._current.close()
        # The loader itself shuts its workers down only when its iterator is garbage-collected.
        iterator = self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined, unused-ignore]
        self._processes.kill()
        atexit.unregister(self._at_exit)

    def _samples(self, epoch: int, start: int) -> Generator[Samples, None, None]:
        self._epoch.fill_(epoch)
        self._dataset.set_epoch(epoch, start=start)
        parts = iter(self._loader)
        copied = _copy_to_device(parts, self._device)
        # The workers deliver their parts of a global batch in turn.
        while group := [part for _, part in zip(range(self._workers), copied, strict=False)]:
            yield _merge(group)


def augmentation_of(configuration: TrainingConfiguration, *, text_tokens: int) -> Augmentation:
    """Return the augmentation of a run."""
    return Augmentation(
        size=configuration.model_configuration(text_tokens=text_tokens).image_size,
        strength=configuration.augmentation,
        smallest_crop=configuration.smallest_crop,
    )


def _check_shares(configuration: TrainingConfiguration, ranks: int) -> None:
    readers = ranks * max(configuration.workers, 1)
    if configuration.global_batch % readers:
        raise ConfigurationError(
            f"a global batch of {configuration.global_batch} cannot be divided among {readers} "
            f"readers ({ranks} ranks, {configuration.workers} workers each): change global_batch or workers"
        )


class _Processes(SpawnContext):
    """A context that spawns workers and can kill them; a fork is unsafe with threads and a device."""

    def __init__(self) -> None:
        self._processes: list[SpawnProcess] = []

    def Process(self, *arguments: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        """Create a process, not started yet, and remember it."""
        process = SpawnProcess(*arguments, **options)
        self._processes.append(process)
        return process

    def kill(self) -> None:
        """Kill the started processes and wait until they are gone."""
        while self._processes:
            process = self._processes[-1]
            if process.pid is not None:
                process.kill()
                process.join()
            self._processes.pop()


def _close(stream: weakref.ref[Stream], processes: _Processes) -> None:
    open_stream = stream()
    if open_stream is not None:
        open_stream.close()
    processes.kill()


def _worker_options(workers: int, device: torch.device, processes: _Processes) -> dict[str, Any]:
    # A separate generator, so that the loader does not advance the process's own.
    options: dict[str, Any] = {"num_workers": workers, "generator": torch.Generator()}
    if workers:
        options |= {
            "persistent_workers": True,
            "prefetch_factor": PREFETCHED,
            "multiprocessing_context": processes,
            "worker_init_fn": _begin_worker,
        }
    return options | {"pin_memory": device.type == "cuda"}


def _begin_worker(worker: int) -> None:
    _outlive_first_signal(worker)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this worker with its parent: a killed parent cannot end it, and a worker that waits for the
    platform would notice only after minutes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _outlive_first_signal(worker: int) -> None:
    """Ignore the first SIGTERM or SIGINT: torchrun and terminals send it to all processes of a run, but it is
    meant for the loop, which needs the workers to finish its step. A second signal ends this process."""

    def wait(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, wait)


def _copy_to_device(parts: Iterator[Samples], device: torch.device) -> Iterator[Samples]:
    """Copy samples to the device; on CUDA in a separate stream, so that copies do not wait for
    computation."""
    if device.type != "cuda":
        for part in parts:
            yield Samples(part.number, *(tensor.to(device) for tensor in part[1:]))
        return
    copying = torch.cuda.Stream(device)
    for part in parts:
        with torch.cuda.stream(copying):
            tensors = [tensor.to(device, non_blocking=True) for tensor in part[1:]]
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        for tensor in tensors:
            tensor.record_stream(computing)
        yield Samples(part.number, *tensors)


def _merge(parts: list[Samples]) -> Samples:
    """Merge the workers' parts of one global batch in the order in which its rows were divided."""
    numbers = {part.number for part in parts}
    assert len(numbers) == 1, f"parts of batches {sorted(numbers)} came together"
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(part[1:] for part in parts), strict=True)
    return Samples(numbers.pop(), *(torch.stack(column, dim=1).flatten(0, 1) for column in columns))
