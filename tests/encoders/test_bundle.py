from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.encoders.tiny_bundle import write_tiny_bundle

from cocu.encoders.bundle import Bundle
from cocu.errors import InvalidBundleError


def test_load__reads_the_description(tmp_path: Path) -> None:
    bundle = Bundle.load(write_tiny_bundle(tmp_path))
    assert (bundle.name, bundle.dim, bundle.license) == ("tiny", 4, "Apache-2.0")
    assert (bundle.image.resize, bundle.image.interpolation, bundle.image.crop) == (
        "shortest_side",
        "bicubic",
        "center",
    )


@pytest.mark.parametrize("spelling", ["license", "licence"])
def test_load__knows_both_spellings_of_licence(tmp_path: Path, spelling: str) -> None:
    write_tiny_bundle(tmp_path)
    description = json.loads((tmp_path / "encoder.json").read_text())
    del description["licence"]
    (tmp_path / "encoder.json").write_text(json.dumps({**description, spelling: "MIT"}))
    assert Bundle.load(tmp_path).license == "MIT"


def test_hash__is_of_the_files_not_of_the_folder(tmp_path: Path) -> None:
    first = Bundle.load(write_tiny_bundle(tmp_path / "a"))
    write_tiny_bundle(tmp_path / "b")
    (tmp_path / "b" / "notes.txt").write_text("not part of it")
    assert Bundle.load(tmp_path / "b").hash == first.hash


@pytest.mark.parametrize("file", ["encoder.json", "image.onnx", "text.onnx", "tokenizer.json"])
def test_hash__changes_with_every_file(tmp_path: Path, file: str) -> None:
    before = Bundle.load(write_tiny_bundle(tmp_path)).hash
    with (tmp_path / file).open("ab") as stream:
        stream.write(b"\n")
    assert Bundle.load(tmp_path).hash != before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("dim", "512"),
        ("dim", 0),
        ("dim", True),
        ("normalized", False),
        ("image", None),
        ("image.file", "missing.onnx"),
        ("image.file", "../image.onnx"),
        ("image.file", "/etc/passwd"),
        ("image.file", ".."),
        ("image.size", 1_000_000),
        ("image.layout", "NCHW"),
        ("image.dtype", "float32"),
        ("image.resize", "longest_side"),
        ("image.interpolation", "nearest"),
        ("image.crop", "none"),
        ("text.context_length", -1),
        ("text.tokenizer", 7),
        ("text.input", None),
    ],
)
def test_load__names_the_field_that_is_wrong(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(InvalidBundleError, match=field) as caught:
        Bundle.load(write_tiny_bundle(tmp_path, **{field: value}))
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff", "[" * 100_000])
def test_load__refuses_a_description_that_is_no_object(tmp_path: Path, text: str) -> None:
    write_tiny_bundle(tmp_path)
    (tmp_path / "encoder.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidBundleError, match=r"encoder\.json"):
        Bundle.load(tmp_path)


def test_load__of_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundleError, match="not an encoder bundle"):
        Bundle.load(tmp_path / "nowhere")
