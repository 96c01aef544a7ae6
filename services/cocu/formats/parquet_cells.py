"""The cells of Parquet tables that strangers wrote, as text, plain values or bytes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cocu.formats.limits import Limits
from cocu.text.columns import IN_ITEMS
from cocu.text.encodings import decode_text


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_texts(kind: pa.DataType) -> bool:
    """Whether a column holds lists of texts, or of objects with a text, as Karpathy's `sentences`."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and (is_text(kind.value_type) or _text_in(kind.value_type) is not None))


def _text_in(kind: pa.DataType) -> str | None:
    """The name of the text in an object."""
    names = IN_ITEMS if pa.types.is_struct(kind) else ()
    return next(
        (name for name in names if (at := kind.get_field_index(name)) >= 0 and is_text(kind[at].type)), None
    )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column may hold images: bytes, or a struct with bytes."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and is_bytes(kind.field(index).type)
    return is_bytes(kind)


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column holds what JSON has a word for."""
    return bool(
        is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def cell(batch: pa.RecordBatch, name: str | None) -> Any:
    """The scalar of a column in a batch of one row; None for no column or null."""
    if not name:
        return None
    scalar = batch.column(name)[0]
    if isinstance(scalar, pa.DictionaryScalar):
        scalar = scalar.value
    return scalar if scalar.is_valid else None


def size_of(scalar: Any) -> int:
    """The bytes of a scalar; of one out of a dictionary, its own."""
    if not scalar.is_valid:
        return 0
    if isinstance(scalar, pa.DictionaryScalar):
        return size_of(scalar.value)
    if isinstance(scalar, pa.StructScalar):
        return sum(size_of(item) for item in scalar.values())
    if isinstance(scalar, pa.ListScalar):
        return int(scalar.values.nbytes)
    return int(scalar.as_buffer().size) if hasattr(scalar, "as_buffer") else 8


def raw_text(scalar: Any) -> bytes | str:
    """Text as the file has it: Arrow does not look whether it is UTF-8."""
    buffer = scalar.as_buffer() if hasattr(scalar, "as_buffer") else None
    return str(scalar.as_py()) if buffer is None else buffer.to_pybytes()


def text_of(scalar: Any) -> str:
    """The text of a scalar; "" for null or none."""
    if scalar is None or not scalar.is_valid:
        return ""
    raw = raw_text(scalar)
    return raw if isinstance(raw, str) else decode_text(raw).text


def texts_of(scalar: Any, limits: Limits) -> list[bytes | str]:
    """The texts of a scalar that is one or a list of them, as the file has them."""
    if scalar is None:
        return []
    if not hasattr(scalar, "values"):
        return [raw_text(scalar)]
    items = [item for item in scalar.values[: limits.max_captions] if item.is_valid]
    if (name := _text_in(scalar.type.value_type)) is not None:
        items = [item[name] for item in items if item[name].is_valid]
    return [raw_text(item) for item in items]


def number_of_texts(scalar: Any) -> int:
    """How many texts a scalar holds, of which `texts_of` returns no more than the limit."""
    return len(scalar.values) if scalar is not None and hasattr(scalar, "values") else 1


def plain_of(scalar: Any) -> object:
    """A value that JSON has a word for."""
    if scalar is None:
        return None
    return text_of(scalar) if hasattr(scalar, "as_buffer") else scalar.as_py()
