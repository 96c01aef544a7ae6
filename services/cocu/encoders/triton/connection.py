"""Calls to a Triton server, with retries until a deadline."""

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
from cocu.proxies import grpc_options

__all__ = ["Connection", "Deadline", "IndexEntry", "NoSuchModelError", "RetryPolicy"]

Result = TypeVar("Result")

# The server or the network fails for now: the same call may succeed later.
_PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED"}
_REFUSED = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
# Enough to survive a model whose process was killed by another request.
_ATTEMPTS_OF_A_FAILING_MODEL = 3

_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that vanishes without closing is noticed after 40 s, whatever the deadline of the call.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A server that comes back is noticed within seconds, however long it was gone.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to wait for the inference server, in seconds.

    A call with n inputs may take `seconds` + n × `seconds_per_input` with all its attempts, and each attempt
    half of that. The backoff before attempt k + 1 is at most `first_backoff` × 2^k, and at most
    `max_backoff`; it is random, so that clients do not retry all at once.
    """

    seconds: float = 5.0
    seconds_per_input: float = 4.0
    first_backoff: float = 0.1
    max_backoff: float = 5.0

    def deadline(self, inputs: int) -> Deadline:
        """Return the deadline of a call with this number of inputs that begins now."""
        seconds = self.seconds + inputs * self.seconds_per_input
        return Deadline(at=time.monotonic() + seconds, attempt_seconds=seconds / 2)

    def backoff(self, attempt: int) -> float:
        """Return the seconds to wait after this number of attempts before the next one."""
        return random.uniform(0.5, 1.0) * min(self.max_backoff, self.first_backoff * 2.0 ** min(attempt, 30))


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """The time at which a call must end (monotonic clock), and the longest duration of an attempt."""

    at: float
    attempt_seconds: float

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.at - time.monotonic()

    @property
    def attempt(self) -> float:
        """Seconds that an attempt may take that begins now."""
        return max(0.001, min(self.attempt_seconds, self.left))


@dataclass(frozen=True)
class IndexEntry:
    """A version of a model in the server's repository."""

    model: str
    version: str
    ready: bool
    reason: str


class NoSuchModelError(Exception):
    """The server answers, but does not have this model or this version of it."""


class Connection:
    """A channel to a Triton server; may be shared by threads, not by processes that fork."""

    def __init__(self, address: str, *, secure: bool, retry_policy: RetryPolicy) -> None:
        self.address = address
        self.retry_policy = retry_policy
        self._client = InferenceServerClient(
            address, ssl=secure, channel_args=[*_CHANNEL, *grpc_options(address).items()]
        )

    def close(self) -> None:
        """Close the connection; running calls fail."""
        self._client.close()

    def index(self, deadline: Deadline) -> list[IndexEntry]:
        """Return every version of every model. Raises UnavailableError."""
        answer = self.call(
            lambda seconds: self._client.get_model_repository_index(client_timeout=seconds), deadline
        )
        return [
            IndexEntry(model.name, model.version, model.state == "READY", model.reason)
            for model in answer.models
        ]

    def configuration(self, model: str, version: str, deadline: Deadline) -> Any:
        """Return a model's ModelConfig. Raises NoSuchModelError, UnavailableError."""
        answer = self.call(
            lambda seconds: self._client.get_model_config(model, version, client_timeout=seconds), deadline
        )
        return answer.config

    def infer(
        self, model: str, version: str, *, inputs: tuple[str, NDArray[Any]], output: str, seconds: float
    ) -> NDArray[Any]:
        """Run one attempt at one batch.

        inputs: the name and the array of the input tensor. output: the name of the output tensor, which is
        returned. Raises InferenceServerException, ValueError when the response is not the requested one.
        """
        name, inputs_N = inputs
        tensor = InferInput(name, list(inputs_N.shape), np_to_triton_dtype(inputs_N.dtype))
        tensor.set_data_from_numpy(inputs_N)
        answer = self._client.infer(
            model,
            [tensor],
            model_version=version,
            outputs=[InferRequestedOutput(output)],
            client_timeout=seconds,
        )
        if answer.get_response().model_version != version:
            raise ValueError(f"version {answer.get_response().model_version} answered")
        outputs = answer.as_numpy(output)
        if outputs is None or outputs.dtype != np.float32:
            raise ValueError(f"there is no float32 output {output!r}")
        return np.asarray(outputs)

    def call(
        self,
        attempt: Callable[[float], Result],
        deadline: Deadline,
        *,
        before_retry: Callable[[], None] | None = None,
    ) -> Result:
        """Return the result of `attempt`, which gets the seconds that it may take; retry until the deadline.

        before_retry: called before each retry; its errors end the call. Raises NoSuchModelError,
        IntegrityError when the model itself fails repeatedly, UnavailableError when the deadline has passed.
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
            backoff = self.retry_policy.backoff(attempts)
            attempts += 1
            if deadline.left <= backoff:
                raise UnavailableError(
                    f"the inference server at {self.address} did not answer in time "
                    f"({attempts} attempts, the last: {status} {problem.message()})"
                )
            time.sleep(backoff)
            if before_retry is not None:
                before_retry()

    def _final(self, status: str, problem: InferenceServerException) -> IntegrityError | UnavailableError:
        where = f"the inference server at {self.address}"
        if status in _REFUSED:
            return UnavailableError(f"{where} refuses this client: {problem.message()}")
        return IntegrityError(f"{where} failed on a batch: {status} {problem.message()}")


def _status(error: InferenceServerException) -> str:
    # Errors that the client raises itself have no status: the call was invalid.
    return str(error.status() or "INVALID_ARGUMENT").removeprefix("StatusCode.")
