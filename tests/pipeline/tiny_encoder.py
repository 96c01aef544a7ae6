"""An encoder bundle of a few kilobytes, written byte by byte: real files for a real runtime, without `onnx`.

The image tower is a random projection of 16 × 16 pixels, so that equal images have equal embeddings and other
images do not. A completely black image is projected to zero, so its embedding is not valid. The text tower
adds up random vectors of words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

SIZE = 16
DIM = 16
CONTEXT = 12
WORDS = ("[unknown]", "a", "photo", "of", "dog", "cat", "bench", "tree", "car", "boat")

FLOAT, UINT8, INT64 = 1, 2, 7


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _data(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _tensor(name: str, array: NDArray[np.generic]) -> bytes:
    kind = FLOAT if array.dtype == np.float32 else INT64
    dimensions = b"".join(_integer(1, size) for size in array.shape)
    return dimensions + _integer(2, kind) + _data(8, name) + _data(9, array.tobytes())


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dimensions = b"".join(
        _data(1, _integer(1, size) if isinstance(size, int) else _data(2, size)) for size in shape
    )
    return _data(1, name) + _data(2, _data(1, _integer(1, kind) + _data(2, dimensions)))


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    node = b"".join(_data(1, name) for name in inputs) + _data(2, output) + _data(4, operator)
    for name, value in attributes.items():
        node += _data(5, _data(1, name) + _integer(3, value) + _integer(20, 2))
    return node


def _model(nodes: Sequence[bytes], tensors: Sequence[bytes], input: bytes, output: bytes) -> bytes:
    graph = b"".join(_data(1, node) for node in nodes) + _data(2, "tiny")
    graph += b"".join(_data(5, tensor) for tensor in tensors) + _data(11, input) + _data(12, output)
    return _integer(1, 8) + _data(7, graph) + _data(8, _data(1, "") + _integer(2, 17))


def _image_model(generator: np.random.Generator) -> bytes:
    weights = generator.standard_normal((SIZE * SIZE * 3, DIM)).astype(np.float32)
    return _model(
        [
            _node("Cast", ["pixels"], "numbers", to=FLOAT),
            _node("Reshape", ["numbers", "flat"], "rows"),
            _node("MatMul", ["rows", "weights"], "projected"),
            _node("LpNormalization", ["projected"], "embedding", axis=1, p=2),
        ],
        [_tensor("flat", np.array([-1, SIZE * SIZE * 3], np.int64)), _tensor("weights", weights)],
        _value("pixels", UINT8, ["n", SIZE, SIZE, 3]),
        _value("embedding", FLOAT, ["n", DIM]),
    )


def _text_model(generator: np.random.Generator) -> bytes:
    words = generator.standard_normal((len(WORDS), DIM)).astype(np.float32)
    return _model(
        [
            _node("Gather", ["words", "tokens"], "vectors", axis=0),
            _node("ReduceSum", ["vectors", "second"], "sums", keepdims=0),
            _node("LpNormalization", ["sums"], "embedding", axis=1, p=2),
        ],
        [_tensor("words", words), _tensor("second", np.array([1], np.int64))],
        _value("tokens", INT64, ["n", CONTEXT]),
        _value("embedding", FLOAT, ["n", DIM]),
    )


def write_tiny_encoder(folder: Path, *, name: str = "tiny", seed: int = 7) -> Path:
    """Writes the bundle and returns its folder; another seed is another encoder."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "image.onnx").write_bytes(_image_model(generator))
    (folder / "text.onnx").write_bytes(_text_model(generator))
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=WORDS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    image = {"file": "image.onnx", "input": "pixels", "output": "embedding", "size": SIZE}
    text = {"file": "text.onnx", "input": "tokens", "output": "embedding", "context_length": CONTEXT}
    description = {
        "name": name,
        "dim": DIM,
        "image": image,
        "text": text | {"tokenizer": "tokenizer.json"},
        "source": "random numbers",
    }
    (folder / "encoder.json").write_text(json.dumps(description))
    return folder
