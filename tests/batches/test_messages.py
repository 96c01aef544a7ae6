"""Protobuf: read with generated code only; that code is up to date with the .proto files."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pyarrow as pa
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.proto import parse_length_prefixed
from tests.batches.conftest import Curated

from cocu.batches.messages import batches_pb2

FIELD = re.compile(r"^\s+(repeated )?(\w+) (\w+) = (\d+);", re.MULTILINE)
MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
KINDS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FLOAT: "float",
}


def test_stream__is_the_arrow_stream_in_other_words(curated: Curated) -> None:
    parameters = {"global_batch": 16, "include_scores": "true", "start": 1, "rank": 1, "world_size": 2}
    stream = io.BytesIO(
        httpx.get(curated.url, timeout=60, params={**parameters, "format": "protobuf"}).content
    )
    received = []
    while (batch := parse_length_prefixed(batches_pb2.Batch, stream)) is not None:
        received.append(batch)
    with pa.ipc.open_stream(httpx.get(curated.url, timeout=60, params=parameters).content) as reader:
        expected = [batch.to_pylist() for batch in reader]
    assert [batch.number for batch in received] == [1, 2, 3]
    assert received[0].epoch.content_hash == curated.curation.content_hash
    assert received[0].epoch.batches == 4
    assert not received[1].HasField("epoch")
    for batch, rows in zip(received, expected, strict=True):
        for sample, row in zip(batch.samples, rows, strict=True):
            assert (sample.key, sample.caption, sample.format) == (row["key"], row["caption"], row["format"])
            assert sample.image == row["image"]
            assert list(sample.concepts) == row["concepts"]
            assert list(sample.concept_ids) == row["concept_ids"]
            assert list(sample.texts) == row["texts"]
            assert list(sample.scores) == row["scores"]


def test_generated_code__needs_nothing_of_ours(repository: Path) -> None:
    file = repository / "services/cocu/batches/messages/batches_pb2.py"
    program = (
        "import importlib.util, sys\n"
        f"specification = importlib.util.spec_from_file_location('batches_pb2', {str(file)!r})\n"
        "module = importlib.util.module_from_spec(specification)\n"
        "specification.loader.exec_module(module)\n"
        "assert module.Batch.FromString(module.Batch(number=3).SerializeToString()).number == 3\n"
        "assert not any(name.startswith('cocu') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_generated_code__has_the_fields_of_the_messages(repository: Path) -> None:
    text = (repository / "proto/cocu/v1/batches.proto").read_text(encoding="utf-8")
    written = {
        name: {
            (field, int(number), kind, bool(repeated))
            for repeated, kind, field, number in FIELD.findall(body)
        }
        for name, body in MESSAGE.findall(text)
    }
    generated = {
        name: {
            (field.name, field.number, KINDS.get(field.type) or field.message_type.name, field.is_repeated)
            for field in message.fields
        }
        for name, message in batches_pb2.DESCRIPTOR.message_types_by_name.items()
    }
    assert written == generated
    assert all(written.values())


def test_generated_code__is_current(repository: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    folder = repository / "services/cocu/batches/messages"
    for name, code in _generator(repository).generated().items():
        assert (folder / name).read_text(encoding="utf-8") == code, "run python proto/generate.py"


def _generator(repository: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", repository / "proto" / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
