"""Arrow streams of one record batch, as the platform answers them. They need pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from cocu.client.exceptions import UnexpectedAnswerError
from cocu.client.transport import Call, Transport

ACCEPT = "application/vnd.apache.arrow.stream, application/problem+json"


def receive_batch(transport: Transport, path: str, params: Mapping[str, Any] | None = None) -> Any:
    """Return the `pyarrow.RecordBatch` of an answer.

    Raises UnexpectedAnswerError where the answer is something else.
    """
    pyarrow = import_module("pyarrow")
    answer = transport.send(Call(path=path, params=params or {}, headers={"Accept": ACCEPT}))
    try:
        (batch,) = pyarrow.ipc.open_stream(answer.content)
    except (pyarrow.ArrowException, ValueError) as error:
        raise UnexpectedAnswerError(
            f"GET {answer.request.url} answered no Arrow stream of one record batch"
        ) from error
    return batch
