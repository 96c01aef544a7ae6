"""Parquet, Hugging Face, JSON Lines and DataComp: read by the formats' own libraries."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.exports.conftest import (
    SAMPLES,
    SHARDS,
    Curated,
    expected_concepts,
    expected_neighbours,
    image_of,
    key_of,
    metadata_of,
)

from cocu.schemas import Curation

REREADABLE = ["parquet", "huggingface"]


def rows_of(folder: Path) -> list[dict[str, object]]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_parquet__holds_every_sample_with_its_archive(curated: Curated, tmp_path: Path) -> None:
    manifest = curated.client.curations.export(curated.curation.id, tmp_path, "parquet")
    assert [file.samples for file in manifest.files] == SHARDS
    rows = rows_of(tmp_path)
    assert [row["key"] for row in rows] == [key_of(number) for number in range(SAMPLES)]
    for row in rows:
        key = str(row["key"])
        assert row["caption"] == curated.captions[key]
        assert row["image"] == curated.images[key]
        assert row["sha256"] == hashlib.sha256(curated.images[key]).hexdigest()
        assert row["concepts"] == expected_concepts(curated.archives[key])
        assert row["neighbours"] == expected_neighbours(curated.archives[key])
    metadata = [json.loads(str(row["metadata"] or "{}")) for row in rows]
    assert metadata == [metadata_of(number) for number in range(SAMPLES)]


def test_parquet__without_images_is_a_table_of_archives(curated: Curated, tmp_path: Path) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path, "parquet", images=False, max_concepts=1)
    for row in rows_of(tmp_path):
        assert "image" not in row
        assert row["concepts"] == expected_concepts(curated.archives[str(row["key"])])[:1]


def test_huggingface__says_what_its_columns_are(curated: Curated, tmp_path: Path) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path, "huggingface")
    paths = sorted(tmp_path.rglob("*.parquet"))
    assert str(paths[0].relative_to(tmp_path)) == "data/train-00000-of-00004.parquet"
    schema = pq.read_schema(paths[0])
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    for row in rows_of(tmp_path):
        image = row["image"]
        assert isinstance(image, dict)
        assert image["bytes"] == curated.images[str(row["key"])]
        assert str(image["path"]).rpartition(".")[0] == row["key"]
    front, _, text = (tmp_path / "README.md").read_text().removeprefix("---\n").partition("---\n")
    assert "path: data/train-*.parquet" in front
    assert str(curated.curation.content_hash) in text


def test_huggingface__is_loaded_by_datasets(curated: Curated, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    curated.client.curations.export(curated.curation.id, tmp_path / "export", "huggingface")
    loaded = datasets.load_dataset(str(tmp_path / "export"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["key"] == [key_of(number) for number in range(SAMPLES)]
    for number, row in enumerate(loaded):
        assert row["image"].size == (24 + number, 24 + number)
        assert row["concepts"] == expected_concepts(curated.archives[row["key"]])


@pytest.mark.parametrize("format", REREADABLE)
def test_import_of_an_export__comes_to_the_same_curation(
    curated: Curated, again: Callable[[Path], Curation], tmp_path: Path, format: str
) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path, format)  # type: ignore[arg-type]
    imported = again(tmp_path)
    assert imported.content_hash == curated.curation.content_hash
    lines = httpx.get(f"{curated.server.url}/v1/curations/{imported.id}/export", params={"format": "jsonl"})
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert {row["key"]: row["metadata"] for row in rows} == {
        key_of(number): metadata_of(number) for number in range(SAMPLES)
    }


@pytest.mark.parametrize("format", REREADABLE)
def test_stream_of_parquet__is_a_tar_of_the_files(curated: Curated, tmp_path: Path, format: str) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path, format)  # type: ignore[arg-type]
    answer = httpx.get(curated.url, params={"format": format})
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "cocu-export.json"]
    assert members == {str(path.relative_to(tmp_path)): path.read_bytes() for path in files}


def test_jsonl__is_a_sample_a_line(curated: Curated, tmp_path: Path) -> None:
    manifest = curated.client.curations.export(curated.curation.id, tmp_path, "jsonl")
    contents = [(tmp_path / file.name).read_bytes() for file in manifest.files]
    assert [content.count(b"\n") for content in contents] == SHARDS
    assert httpx.get(curated.url, params={"format": "jsonl"}).content == b"".join(contents)
    for number, line in enumerate(b"".join(contents).splitlines()):
        row = json.loads(line)
        key = key_of(number)
        assert (row["key"], row["caption"]) == (key, curated.captions[key])
        assert row["concepts"] == expected_concepts(curated.archives[key])
        assert row["neighbours"] == expected_neighbours(curated.archives[key])
        assert row["metadata"] == metadata_of(number)


def test_datacomp__is_a_sorted_list_of_uids(curated: Curated, tmp_path: Path) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path, "datacomp")
    uids = np.load(tmp_path / "uids.npy")
    assert uids.dtype == np.dtype("u8,u8")
    own = [metadata_of(number).get("uid") for number in range(SAMPLES)]
    hashes = [hashlib.sha256(image_of(number)).hexdigest()[:32] for number in range(SAMPLES)]
    texts = [uid or digest for uid, digest in zip(own, hashes, strict=True)]
    assert [f"{high:016x}{low:016x}" for high, low in uids.tolist()] == sorted(texts)
