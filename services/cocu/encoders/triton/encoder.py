"""An encoder whose towers are models of a Triton server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.encoders.encoder import Float32s, ModelChangedError
from cocu.encoders.tokens import TextTokenizer
from cocu.encoders.towers import TowerEncoder, check_embeddings
from cocu.encoders.triton.configuration import PublishedTower, read_tower
from cocu.encoders.triton.connection import Connection, Deadline, NoSuchModelError
from cocu.errors import IntegrityError, InvalidBundleError, UnavailableError

__all__ = ["TritonEncoder"]

BATCH = 64
# A message cannot exceed 2 GiB, and both sides hold several of them in memory.
_LARGEST_REQUEST_BYTES = 256 << 20


class TritonEncoder(TowerEncoder):
    """An encoder served by Triton; may be shared by threads.

    Inputs are cut into batches of 64 (fewer where the models or messages allow fewer), of which `in_flight`
    are sent at once. Responses are checked. A call raises UnavailableError when the server does not answer in
    time, IntegrityError when the model itself fails, and ModelChangedError when another bundle has replaced
    this one: embeddings of another bundle are never returned.
    """

    def __init__(
        self, connection: Connection, image: PublishedTower, text: PublishedTower, *, in_flight: int = 4
    ) -> None:
        description = image.description
        tokenizer = TextTokenizer(
            text.tokenizer, description.text.context_length, where=f"tokenizer of {text.model}"
        )
        pixels_bytes = description.image.size**2 * 3
        allowed = min(BATCH, image.max_batch, text.max_batch, _LARGEST_REQUEST_BYTES // pixels_bytes)
        super().__init__(
            description,
            hash=image.hash,
            image=_RemoteTower(connection, image, description.image.input, description.image.output),
            text=_RemoteTower(connection, text, description.text.input, description.text.output),
            tokenizer=tokenizer,
            batch=allowed,
            parallel=in_flight,
        )
        self._senders = ThreadPoolExecutor(in_flight, thread_name_prefix="triton")

    def close(self) -> None:
        """Stop the threads without waiting for requests that were sent."""
        self._senders.shutdown(wait=False, cancel_futures=True)

    def _embed_batches(self, embed: Callable[[Any], Float32s], batches: Sequence[Any]) -> Iterable[Float32s]:
        if len(batches) == 1:
            return [embed(batches[0])]
        futures = [self._senders.submit(embed, batch) for batch in batches]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


class _RemoteTower:
    """One model of the server, pinned to the version of its bundle."""

    def __init__(self, connection: Connection, tower: PublishedTower, input: str, output: str) -> None:
        self._connection = connection
        self._tower = tower
        self._input = input
        self._output = output

    def embed(self, inputs_N: NDArray[Any]) -> Float32s:
        deadline = self._connection.retry_policy.deadline(len(inputs_N))
        try:
            outputs_ND = self._infer(np.ascontiguousarray(inputs_N), deadline)
        except ValueError as error:
            raise IntegrityError(f"encoder {self._tower.description.name}: {error}") from error
        description = self._tower.description
        return check_embeddings(outputs_ND, count=len(inputs_N), dim=description.dim, name=description.name)

    def _infer(self, inputs_N: NDArray[Any], deadline: Deadline) -> NDArray[Any]:
        def attempt(seconds: float) -> NDArray[Any]:
            return self._connection.infer(
                self._tower.model,
                self._tower.version,
                inputs=(self._input, inputs_N),
                output=self._output,
                seconds=seconds,
            )

        attempts = 0
        while True:
            try:
                return self._connection.call(
                    attempt, deadline, before_retry=lambda: self._require_the_same(deadline)
                )
            except NoSuchModelError as error:
                self._require_the_same(deadline)
                backoff = self._connection.retry_policy.backoff(attempts)
                attempts += 1
                if deadline.left <= backoff:
                    raise UnavailableError(
                        f"the inference server at {self._connection.address} has no model of encoder "
                        f"{self._tower.description.name!r} any more ({error}); publish its bundle again"
                    ) from error
                time.sleep(backoff)

    def _require_the_same(self, deadline: Deadline) -> None:
        """Check that no other bundle has replaced this one on the server.

        Raises ModelChangedError, UnavailableError.
        """
        entries = [entry for entry in self._connection.index(deadline) if entry.model == self._tower.model]
        ready = [entry.version for entry in entries if entry.ready]
        if self._tower.version not in ready:
            for version in ready:
                raise self._changed(f"version {version} instead of {self._tower.version}")
            return
        try:
            config = self._connection.configuration(self._tower.model, self._tower.version, deadline)
            published = read_tower(config, version=self._tower.version)
        except InvalidBundleError as error:
            raise self._changed(str(error)) from error
        except NoSuchModelError:
            return
        if published is None or published.hash != self._tower.hash:
            raise self._changed("a model that is not of this bundle")

    def _changed(self, what: str) -> ModelChangedError:
        return ModelChangedError(
            f"encoder {self._tower.description.name!r} was replaced on the inference server at "
            f"{self._connection.address}: {self._tower.model} is now {what} (this work began with bundle "
            f"{self._tower.hash[:12]}…); publish that bundle again, or start a new curation"
        )
