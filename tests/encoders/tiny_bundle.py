"""An encoder bundle of a few kilobytes, written byte by byte: no exporter is needed to test what reads it.

Its image tower mixes an image's mean red, green and blue, its text tower adds up the rows of a table; both
divide by the norm. So a black image has no embedding: the tower returns NaN, as a broken model would.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.encoders.clip_tokenizer import END_OF_TEXT, START_OF_TEXT, clip_tokenizer

DIM = 4
SIZE = 16
CONTEXT_LENGTH = 12

_FLOAT, _UINT8, _INT64 = 1, 2, 7


def write_tiny_bundle(folder: Path, **changes: Any) -> Path:
    """Write the bundle; `changes` replace fields of encoder.json, such as "name" or "image.size"."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    vocabulary = _vocabulary()
    clip_tokenizer(vocabulary, [("c", "a"), ("ca", "t</w>")]).save(str(folder / "tokenizer.json"))
    (folder / "image.onnx").write_bytes(_image_tower(random.standard_normal((3, DIM)).astype(np.float32)))
    (folder / "text.onnx").write_bytes(
        _text_tower(random.standard_normal((len(vocabulary), DIM)).astype(np.float32))
    )
    description: dict[str, Any] = {
        "name": "tiny",
        "dim": DIM,
        "normalized": True,
        "image": {"file": "image.onnx", "input": "pixels", "output": "embedding", "size": SIZE},
        "text": {
            "file": "text.onnx",
            "input": "tokens",
            "output": "embedding",
            "context_length": CONTEXT_LENGTH,
            "tokenizer": "tokenizer.json",
        },
        "licence": "Apache-2.0",
    }
    for field, value in changes.items():
        *sections, last = field.split(".")
        target = description
        for section in sections:
            target = target[section]
        target[last] = value
    (folder / "encoder.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def _vocabulary() -> dict[str, int]:
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "ca", "cat</w>", START_OF_TEXT, END_OF_TEXT]
    return {token: number for number, token in enumerate(tokens)}


def _image_tower(weights_3D: NDArray[np.float32]) -> bytes:
    nodes = [
        _node("Cast", ["pixels"], "floats", _field(1, b"to") + _field(3, _FLOAT) + _field(20, 2)),
        _node("ReduceMean", ["floats", "sides"], "means", _integer("keepdims", 0)),
        _node("MatMul", ["means", "weights"], "raw"),
    ]
    initializers = [_tensor("weights", weights_3D), _tensor("sides", np.array([1, 2]))]
    return _model(nodes, initializers, ("pixels", _UINT8, ["batch", SIZE, SIZE, 3]))


def _text_tower(table_VD: NDArray[np.float32]) -> bytes:
    nodes = [
        _node("Gather", ["table", "tokens"], "rows"),
        _node("ReduceSum", ["rows", "positions"], "raw", _integer("keepdims", 0)),
    ]
    initializers = [_tensor("table", table_VD), _tensor("positions", np.array([1]))]
    return _model(nodes, initializers, ("tokens", _INT64, ["batch", CONTEXT_LENGTH]))


def _model(
    nodes: list[bytes], initializers: list[bytes], input_tensor: tuple[str, int, list[str | int]]
) -> bytes:
    nodes = [
        *nodes,
        _node("Mul", ["raw", "raw"], "squares"),
        _node("ReduceSum", ["squares", "last"], "sums", _integer("keepdims", 1)),
        _node("Sqrt", ["sums"], "norms"),
        _node("Div", ["raw", "norms"], "embedding"),
    ]
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, b"tiny"),
            *(_field(5, tensor) for tensor in [*initializers, _tensor("last", np.array([1]))]),
            _field(11, _value(*input_tensor)),
            _field(12, _value("embedding", _FLOAT, ["batch", DIM])),
        ]
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 18))


def _node(kind: str, inputs: Iterable[str], output: str, attribute: bytes = b"") -> bytes:
    wires = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    return (
        wires
        + _field(3, output.encode())
        + _field(4, kind.encode())
        + (_field(5, attribute) if attribute else b"")
    )


def _integer(name: str, value: int) -> bytes:
    return _field(1, name.encode()) + _field(3, value) + _field(20, 2)


def _tensor(name: str, values: NDArray[Any]) -> bytes:
    kind = _INT64 if values.dtype.kind == "i" else _FLOAT
    shape = b"".join(_field(1, length) for length in values.shape)
    return shape + _field(2, kind) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, kind: int, shape: list[str | int]) -> bytes:
    lengths = b"".join(
        _field(1, _field(1, length) if isinstance(length, int) else _field(2, length.encode()))
        for length in shape
    )
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, kind) + _field(2, lengths)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127)
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])
