"""Encoder bundles: folders with an image tower, a text tower, a tokenizer and `encoder.json`.

    encoder.json
        name         to show and to select it by
        dim          dimensions of an embedding
        normalized   true: both towers return unit norm (the only supported value; optional)
        license      of the weights; the spelling "licence" is accepted too
        source       where the weights come from
        image        file, input, output, dtype "uint8", layout "NHWC", size (pixels of a side, at least 16),
                     resize "shortest_side" | "squash", interpolation "bicubic" | "bilinear", crop "center"
        text         file, input, output, dtype "int64", context_length, tokenizer (file)

The normalisation of pixels is part of image.onnx, so that every runtime computes it in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocu import machine
from cocu.errors import InvalidBundleError

__all__ = ["DESCRIPTION", "Bundle", "Description", "ImageTower", "TextTower", "hash_of_digests"]

DESCRIPTION = "encoder.json"
MAX_DIM = 65_536
MIN_SIZE = 16
MAX_SIZE = 4_096
MAX_CONTEXT_LENGTH = 8_192
_HASH_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImageTower:
    """The image tower and the image it expects."""

    file: str
    input: str
    output: str
    size: int
    resize: str = "shortest_side"
    interpolation: str = "bicubic"
    crop: str = "center"


@dataclass(frozen=True, kw_only=True)
class TextTower:
    """The text tower and the tokens it expects."""

    file: str
    input: str
    output: str
    context_length: int
    tokenizer: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of encoder.json, complete and consistent."""

    name: str
    dim: int
    license: str
    source: str
    image: ImageTower
    text: TextTower

    @classmethod
    def from_json(cls, document: bytes | str, *, where: str) -> Description:
        """Read and check a description alone, without the files that it names.

        where: the name of the document in error messages. Raises InvalidBundleError, naming the field.
        """
        return cls(**_described(_Fields(_parse(document, where), where)))


@dataclass(frozen=True, kw_only=True)
class Bundle(Description):
    """An encoder bundle whose description is complete and whose files exist.

    hash: SHA-256 over the names and contents of `encoder.json` and the files it names. Other files in the
    folder do not count.
    """

    folder: Path
    hash: str

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Read and check the bundle in a folder.

        Raises InvalidBundleError, naming the file and the field, when the bundle is incomplete or
        inconsistent. It does not run the towers: that happens when an encoder opens them.
        """
        folder = Path(folder)
        where = str(folder / DESCRIPTION)
        described = _described(_Fields(_parse(_read(folder), where), where, folder))
        image, text = described["image"], described["text"]
        files = (DESCRIPTION, image.file, text.file, text.tokenizer)
        return cls(**described, folder=folder, hash=_hash_of(folder, files))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files of the bundle, including the external weights of ONNX files."""
        return _files(self.folder, (DESCRIPTION, self.image.file, self.text.file, self.text.tokenizer))


def _read(folder: Path) -> bytes:
    path = folder / DESCRIPTION
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InvalidBundleError(
            f"{folder} is not an encoder bundle: it has no {DESCRIPTION}", {DESCRIPTION: "missing"}
        ) from None
    except OSError as error:
        machine.raise_machine_error(error, f"read {path}")
        raise InvalidBundleError(f"{path} cannot be read: {error}", {DESCRIPTION: str(error)}) from error


def _parse(document: bytes | str, where: str) -> dict[str, Any]:
    try:
        description = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise InvalidBundleError(
            f"{where} cannot be read as JSON: {error}", {DESCRIPTION: str(error)}
        ) from error
    if not isinstance(description, dict):
        raise InvalidBundleError(f"{where} must hold a JSON object", {DESCRIPTION: "not an object"})
    return description


def _described(fields: _Fields) -> dict[str, Any]:
    """Return the fields of a Description."""
    fields.one_of("normalized", (True,), default=True)
    return {
        "name": fields.text("name"),
        "dim": fields.integer("dim", MAX_DIM),
        "license": fields.text("licence" if "licence" in fields.values else "license", default=""),
        "source": fields.text("source", default=""),
        "image": _image_tower(fields.section("image")),
        "text": _text_tower(fields.section("text")),
    }


def _image_tower(fields: _Fields) -> ImageTower:
    fields.one_of("dtype", ("uint8",), default="uint8")
    fields.one_of("layout", ("NHWC",), default="NHWC")
    return ImageTower(
        file=fields.file("file"),
        input=fields.text("input"),
        output=fields.text("output"),
        size=fields.integer("size", MAX_SIZE, minimum=MIN_SIZE),
        resize=fields.one_of("resize", ("shortest_side", "squash"), default="shortest_side"),
        interpolation=fields.one_of("interpolation", ("bicubic", "bilinear"), default="bicubic"),
        crop=fields.one_of("crop", ("center",), default="center"),
    )


def _text_tower(fields: _Fields) -> TextTower:
    fields.one_of("dtype", ("int64",), default="int64")
    return TextTower(
        file=fields.file("file"),
        input=fields.text("input"),
        output=fields.text("output"),
        context_length=fields.integer("context_length", MAX_CONTEXT_LENGTH),
        tokenizer=fields.file("tokenizer"),
    )


def hash_of_digests(digests: Mapping[str, str]) -> str:
    """Return a bundle's hash, computed from the SHA-256 of each file, in hexadecimal, by name."""
    total = hashlib.sha256()
    for name in sorted(digests):
        total.update(f"{name}\0{digests[name]}\n".encode())
    return total.hexdigest()


def _files(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files with these names, and the external weights in `<file>.data` if they exist."""
    external_weights = {f"{name}.data" for name in names if (folder / f"{name}.data").is_file()}
    return tuple(sorted({*names, *external_weights}))


def _hash_of(folder: Path, names: tuple[str, ...]) -> str:
    digests = {}
    for name in _files(folder, names):
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while chunk := file.read(_HASH_CHUNK):
                digest.update(chunk)
        digests[name] = digest.hexdigest()
    return hash_of_digests(digests)


@dataclass(frozen=True)
class _Fields:
    """Typed access to one section of encoder.json; every error names the field and the document.

    folder: must contain the files that the section names; None skips that check.
    """

    values: dict[str, Any]
    where: str
    folder: Path | None = None
    prefix: str = ""

    def section(self, name: str) -> _Fields:
        values = self.values.get(name)
        if not isinstance(values, dict):
            raise self.wrong(name, "must be an object")
        return _Fields(values, self.where, self.folder, f"{self.prefix}{name}.")

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self.wrong(name, "must be a text that is not empty")
        return value

    def integer(self, name: str, maximum: int, minimum: int = 1) -> int:
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise self.wrong(name, f"must be a whole number from {minimum} to {maximum}, not {value!r}")
        return value

    def one_of(self, name: str, allowed: tuple[Any, ...], default: Any) -> Any:
        value = self.values.get(name, default)
        if not any(type(value) is type(choice) and value == choice for choice in allowed):
            raise self.wrong(
                name, f"must be {' or '.join(json.dumps(choice) for choice in allowed)}, not {value!r}"
            )
        return value

    def file(self, name: str) -> str:
        value = self.text(name)
        # A bundle may come from a stranger: it may name files in its own folder only.
        if Path(value).name != value or value in {".", ".."}:
            raise self.wrong(name, f"must name a file in the bundle's own folder, not {value!r}")
        if self.folder is not None and not (self.folder / value).is_file():
            raise self.wrong(name, f"names {value!r}, which is not in the folder")
        return value

    def wrong(self, name: str, what: str) -> InvalidBundleError:
        field = f"{self.prefix}{name}"
        return InvalidBundleError(f"{self.where}: {field} {what}", {field: what})
