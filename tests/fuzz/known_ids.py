"""For the fuzzer: now and then the paths of requests name things that are there.

A fuzzer's own ids never exist, and behind a 404 little can go wrong. The ids come as JSON in the environment.
Requests that delete get no dataset of these, so that they stay.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

KNOWN: dict[str, list[str]] = json.loads(os.environ["COCU_FUZZ_IDS"])


@schemathesis.serializer("application/offset+octet-stream")
def piece_of_a_file(context: Any, value: Any) -> bytes:
    """What is sent as a piece of an upload."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Replace most path parameters that are only made up, the same ones for the same input; in a sequence of
    requests, repeat no key."""
    if case.meta and case.meta.phase.name == TestPhase.STATEFUL and case.headers:
        # The same key once more gets the answer of then, also when what it made was deleted since.
        case.headers.pop("Idempotency-Key", None)
    made_up = case.meta and case.meta.phase.name != TestPhase.STATEFUL and case.method != "DELETE"
    if made_up and case.path_parameters and not case.meta.is_negative_at(ParameterLocation.PATH):
        for name, value in case.path_parameters.items():
            case.path_parameters[name] = _known(name, value)


def _known(name: str, value: Any) -> Any:
    ids = KNOWN.get(name)
    drawn = zlib.crc32(f"{name} {value}".encode("utf-8", "replace"))
    return value if not ids or drawn % 4 == 0 else ids[drawn // 4 % len(ids)]
