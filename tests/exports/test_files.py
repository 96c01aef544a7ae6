"""Manifest, ETags, fetching what is missing, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import httpx
import pytest
from tests.exports.conftest import SAMPLES, SHARDS, Curated, key_of

from cocu.client import ClientError, CocuClient, ConflictError, NotFoundError
from cocu.client.exports import RECORD
from cocu.exports import files, rows
from cocu.exports.export import Export
from cocu.exports.keys import KeysCache
from cocu.exports.parameters import ExportParameters
from cocu.platform import Platform
from cocu.schemas import ExportFormat

FORMATS = list(get_args(ExportFormat))


class Watched(httpx.BaseTransport):
    """Notes the files asked for, and cuts some transfers short."""

    def __init__(self, *, cut: int = 0) -> None:
        self.requested: list[str] = []
        self._cut = cut
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if "/files/" in request.url.path:
            self.requested.append(request.url.path.rpartition("/")[2])
            if self._cut:
                self._cut -= 1
                return httpx.Response(answer.status_code, headers=answer.headers, stream=_Broken(answer))
        return answer

    def close(self) -> None:
        self._inner.close()


class _Broken(httpx.SyncByteStream):
    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield next(iter(self._answer.stream))[:100]  # type: ignore[arg-type]
        raise httpx.RemoteProtocolError("peer closed connection")

    def close(self) -> None:
        self._answer.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("format", FORMATS)
def test_manifest__counts_samples_and_names_files_that_are_there(curated: Curated, format: str) -> None:
    answer = httpx.get(f"{curated.url}/manifest", params={"format": format})
    manifest = answer.json()
    assert manifest["samples"] == SAMPLES
    assert manifest["content_hash"] == curated.curation.content_hash
    assert sum(file["samples"] for file in manifest["files"]) == SAMPLES
    for file in manifest["files"]:
        url = answer.url.join(file["url"])
        response = httpx.get(url)
        assert response.status_code == 200
        assert response.headers["etag"] == f'"{file["etag"]}"'
        assert "immutable" in response.headers["cache-control"]
        assert httpx.get(url).content == response.content
        headers = {"If-None-Match": response.headers["etag"]}
        assert httpx.get(url, headers=headers).status_code == 304
    etags = [file["etag"] for file in manifest["files"]]
    assert len(set(etags)) == len(etags)
    assert httpx.get(answer.url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_etags__differ_where_bytes_do(curated: Curated) -> None:
    queries: list[dict[str, str]] = [{"format": format} for format in FORMATS]
    queries += [{"images": "false"}, {"max_concepts": "1"}]
    tags = [
        file["etag"]
        for params in queries
        for file in httpx.get(f"{curated.url}/manifest", params=params).json()["files"]
    ]
    assert len(set(tags)) == len(tags)


def test_export__fetches_only_what_is_missing(curated: Curated, tmp_path: Path) -> None:
    watched = Watched()
    with CocuClient(curated.server.url, transport=watched) as client:
        seen: list[tuple[int, int]] = []
        client.curations.export(
            curated.curation.id, tmp_path, progress=lambda done, total, _: seen.append((done, total))
        )
        whole = contents(tmp_path)
        assert watched.requested == [f"{number:05d}.tar" for number in range(len(SHARDS))]
        assert seen == [(sum(SHARDS[: number + 1]), SAMPLES) for number in range(len(SHARDS))]
        (tmp_path / "00001.tar").unlink()
        (tmp_path / "00002.tar").write_bytes(b"damaged")
        watched.requested.clear()
        client.curations.export(curated.curation.id, tmp_path)
    assert watched.requested == ["00001.tar", "00002.tar"]
    assert contents(tmp_path) == whole


def test_export__begins_a_file_again_that_broke_off(curated: Curated, tmp_path: Path) -> None:
    watched = Watched(cut=2)
    with CocuClient(curated.server.url, transport=watched) as client:
        client.curations.export(curated.curation.id, tmp_path / "cut")
    assert watched.requested[:3] == ["00000.tar"] * 3
    curated.client.curations.export(curated.curation.id, tmp_path / "whole")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_export__replaces_files_of_other_parameters_and_keeps_other_curations(
    curated: Curated, tmp_path: Path
) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path, "jsonl")
    before = contents(tmp_path)
    curated.client.curations.export(curated.curation.id, tmp_path, "jsonl", max_concepts=1)
    assert contents(tmp_path)["00000.jsonl"] != before["00000.jsonl"]
    with pytest.raises(ClientError, match="another folder"):
        curated.client.curations.export(curated.curation.id, tmp_path, "parquet")
    (tmp_path / RECORD).write_text("{}")
    with pytest.raises(ClientError, match="damaged"):
        curated.client.curations.export(curated.curation.id, tmp_path, "jsonl")


def test_note__tells_what_the_export_was_made_of(curated: Curated, tmp_path: Path) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path, "jsonl")
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["manifest"]["encoder_hash"] == curated.curation.encoder_hash
    assert record["manifest"]["parameters"] == curated.curation.parameters
    assert set(record["files"]) == set(contents(tmp_path)) - {RECORD}


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("", {"format": "csv"}, 422),
        ("", {"max_concepts": "0"}, 422),
        ("", {"images": "perhaps"}, 422),
        ("/manifest", {"format": "tar"}, 422),
        ("/files/00004.tar", {}, 404),
        ("/files/00000.parquet", {}, 404),
        ("/files/..%2F..%2Fcatalog.sqlite", {}, 404),
        ("/files/%00", {}, 404),
    ],
)
def test_what_is_not_there_is_a_problem(
    curated: Curated, path: str, params: dict[str, str], status: int
) -> None:
    answer = httpx.get(curated.url + path, params=params)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_file__with_its_slash_encoded_is_the_same(curated: Curated) -> None:
    params = {"format": "huggingface"}
    plain = httpx.get(f"{curated.url}/files/data/train-00001-of-00004.parquet", params=params)
    encoded = httpx.get(f"{curated.url}/files/data%2Ftrain-00001-of-00004.parquet", params=params)
    assert encoded.status_code == 200
    assert encoded.content == plain.content


def test_export__of_a_curation_that_is_not_there_or_not_complete(curated: Curated, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        curated.client.curations.export("missing", tmp_path)
    other = curated.client.curations.create(curated.curation.dataset)
    curated.client.curations.cancel(other.id)
    if curated.client.curations.get(other.id).state == "cancelled":
        with pytest.raises(ConflictError, match="cancelled"):
            curated.client.curations.export(other.id, tmp_path)


def test_shard_without_archives__has_its_samples_with_empty_ones(curated: Curated) -> None:
    platform = _platform(curated)
    parameters = ExportParameters(format="jsonl")
    export = Export.of(
        platform, KeysCache(platform.objects), parameters, tenant="default", curation=curated.curation.id
    )
    shards = (export.shards[0], replace(export.shards[1], content_hash=None), *export.shards[2:])
    content = b"".join(files.files(replace(export, shards=shards))[1].pieces())
    documents = [json.loads(line) for line in content.splitlines()]
    assert [row["key"] for row in documents] == [key_of(number) for number in range(15, 30)]
    assert all(row["concepts"] == [] and row["neighbours"] == [] for row in documents)


def test_images__are_read_some_at_a_time(curated: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = _platform(curated)
    export = Export.of(
        platform,
        KeysCache(platform.objects, max_bytes=1),
        ExportParameters(),
        tenant="default",
        curation=curated.curation.id,
    )
    shard = next(export.shard_exports())
    largest = max(shard.table["size"].to_pylist())
    monkeypatch.setattr(rows, "MAX_BYTES", 3 * largest)
    sizes = [sum(block["size"].to_pylist()) for block, _, _ in shard.blocks()]
    assert len(sizes) > 2
    assert max(sizes) <= 3 * largest
    assert sum(sizes) == sum(shard.table["size"].to_pylist())


def _platform(curated: Curated) -> Platform:
    return curated.server.platform
