"""Calls to a Triton server: tried again while that may help, never longer than they may take."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from cocu.errors import IntegrityError, UnavailableError

__all__ = ["Connection", "Deadline", "IndexEntry", "NoSuchModelError", "Patience"]

Answer = TypeVar("Answer")

# The server, or the way to it, is in trouble: the same call may succeed later.
_PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED"}
_REFUSED = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
# Often enough to survive a model whose process died under another request.
_ATTEMPTS_OF_A_FAILING_MODEL = 3

_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that is gone without a word is noticed after 40 s, whatever the deadline of the call.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A server that comes back is noticed within seconds, however long it was away.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the inference server is waited for, in seconds.

    A call with n inputs may take `seconds` + n × `seconds_per_input` with all its attempts, each attempt half
    of that. Before attempt k + 1 it waits for at most `first_wait` × 2^k, at most `longest_wait`; how long
    is drawn at random, so that clients do not come back together.
    """

    seconds: float = 5.0
    seconds_per_input: float = 4.0
    first_wait: float = 0.1
    longest_wait: float = 5.0

    def deadline(self, inputs: int) -> Deadline:
        """That of a call with so many inputs that begins now."""
        seconds = self.seconds + inputs * self.seconds_per_input
        return Deadline(at=time.monotonic() + seconds, attempt_seconds=seconds / 2)

    def wait(self, attempt: int) -> float:
        """Seconds before the next attempt after so many."""
        return random.uniform(0.5, 1.0) * min(self.longest_wait, self.first_wait * 2.0 ** min(attempt, 30))


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """When a call must have ended (monotonic clock), and how long one attempt may take."""

    at: float
    attempt_seconds: float

    @property
    def left(self) -> float:
        """Seconds from now on."""
        return self.at - time.monotonic()

    @property
    def attempt(self) -> float:
        """Seconds for an attempt that begins now."""
        return max(0.001, min(self.attempt_seconds, self.left))


@dataclass(frozen=True)
class IndexEntry:
    """A version of a model in the server's repository."""

    model: str
    version: str
    ready: bool
    reason: str


class NoSuchModelError(Exception):
    """The server answers, but does not know this model or this version of it."""


class Connection:
    """A channel to a Triton server; may be shared by threads, not by processes that fork."""

    def __init__(self, address: str, *, secure: bool, patience: Patience) -> None:
        self.address = address
        self.patience = patience
        self._client = InferenceServerClient(address, ssl=secure, channel_args=_CHANNEL)

    def close(self) -> None:
        """Ends the connection; calls that run fail."""
        self._client.close()

    def index(self, deadline: Deadline) -> list[IndexEntry]:
        """Every version of every model. Raises UnavailableError."""
        answer = self.call(
            lambda seconds: self._client.get_model_repository_index(client_timeout=seconds), deadline
        )
        return [IndexEntry(one.name, one.version, one.state == "READY", one.reason) for one in answer.models]

    def configuration(self, model: str, version: str, deadline: Deadline) -> Any:
        """A model's ModelConfig. Raises NoSuchModelError, UnavailableError."""
        answer = self.call(
            lambda seconds: self._client.get_model_config(model, version, client_timeout=seconds), deadline
        )
        return answer.config

    def infer(
        self, model: str, version: str, *, given: tuple[str, NDArray[Any]], wanted: str, seconds: float
    ) -> NDArray[Any]:
        """One attempt at one batch: the input's name and array to the output of the name `wanted`.

        Raises InferenceServerException, ValueError when the answer is not what was asked for.
        """
        name, inputs_N = given
        tensor = InferInput(name, list(inputs_N.shape), np_to_triton_dtype(inputs_N.dtype))
        tensor.set_data_from_numpy(inputs_N)
        answer = self._client.infer(
            model,
            [tensor],
            model_version=version,
            outputs=[InferRequestedOutput(wanted)],
            client_timeout=seconds,
        )
        if answer.get_response().model_version != version:
            raise ValueError(f"version {answer.get_response().model_version} answered")
        outputs = answer.as_numpy(wanted)
        if outputs is None or outputs.dtype != np.float32:
            raise ValueError(f"there is no float32 output {wanted!r}")
        return np.asarray(outputs)

    def call(
        self,
        attempt: Callable[[float], Answer],
        deadline: Deadline,
        *,
        before_retry: Callable[[], None] | None = None,
    ) -> Answer:
        """What `attempt` returns, given the seconds that it may take; tried again until the deadline.

        before_retry: called before each further attempt; what it raises ends the call. Raises
        NoSuchModelError, IntegrityError when the model itself fails again and again, UnavailableError when
        the deadline has passed.
        """
        attempts, failures = 0, 0
        while True:
            try:
                return attempt(deadline.attempt)
            except InferenceServerException as error:
                problem = error
            status = _status(problem)
            if status == "NOT_FOUND":
                raise NoSuchModelError(problem.message())
            failures += status not in _PASSING
            if status in _REFUSED or failures >= _ATTEMPTS_OF_A_FAILING_MODEL:
                raise self._final(status, problem)
            wait = self.patience.wait(attempts)
            attempts += 1
            if deadline.left <= wait:
                raise UnavailableError(
                    f"the inference server at {self.address} did not answer in time "
                    f"({attempts} attempts, the last: {status} {problem.message()})"
                )
            time.sleep(wait)
            if before_retry is not None:
                before_retry()

    def _final(self, status: str, problem: InferenceServerException) -> IntegrityError | UnavailableError:
        where = f"the inference server at {self.address}"
        if status in _REFUSED:
            return UnavailableError(f"{where} refuses this client: {problem.message()}")
        return IntegrityError(f"{where} failed on a batch: {status} {problem.message()}")


def _status(error: InferenceServerException) -> str:
    # Errors that the client itself raises have no status: they are defects of the call.
    return str(error.status() or "INVALID_ARGUMENT").removeprefix("StatusCode.")
