"""WebDataset tars: read by the format's own library, and put in again."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import webdataset
from tests.exports.conftest import (
    SHARDS,
    Curated,
    expected_concepts,
    expected_neighbours,
    key_of,
    metadata_of,
)

from cocu.exports.webdataset import released_text
from cocu.schemas import Curation


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_files__hold_every_sample_with_its_archive(curated: Curated, tmp_path: Path) -> None:
    manifest = curated.client.curations.export(curated.curation.id, tmp_path)
    assert [(file.name, file.samples) for file in manifest.files] == [
        (f"{number:05d}.tar", samples) for number, samples in enumerate(SHARDS)
    ]
    files: dict[str, bytes] = {}
    for file in manifest.files:
        files |= members((tmp_path / file.name).read_bytes())
    documents = {name[:-5]: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    texts = {name[:-4]: content.decode() for name, content in files.items() if name.endswith(".txt")}
    images = {
        name.rpartition(".")[0]: content
        for name, content in files.items()
        if not name.endswith((".txt", ".json"))
    }
    assert texts == curated.captions
    assert images == curated.images
    for number, (key, document) in enumerate(documents.items()):
        assert key == key_of(number)
        archive = document.pop("cocu")
        assert document == metadata_of(number)
        assert archive["content_hash"] == curated.curation.content_hash
        assert archive["concepts"] == expected_concepts(curated.archives[key])
        assert archive["neighbours"] == expected_neighbours(curated.archives[key])
    assert len(documents) == sum(SHARDS)


def test_files__are_read_by_webdataset(curated: Curated, tmp_path: Path) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path)
    with ExitStack() as stack:
        # Its reader of paths leaves files open.
        opened = [
            {"url": path.name, "stream": stack.enter_context(path.open("rb"))}
            for path in sorted(tmp_path.glob("*.tar"))
        ]
        expanded = webdataset.tariterators.tar_file_expander(opened)
        samples = list(webdataset.tariterators.group_by_keys(expanded))
    assert {sample["__key__"]: sample["txt"].decode() for sample in samples} == curated.captions
    assert all("concepts" in json.loads(sample["json"])["cocu"] for sample in samples)


def test_import_of_an_export__comes_to_the_same_curation(
    curated: Curated, again: Callable[[Path], Curation], tmp_path: Path
) -> None:
    curated.client.curations.export(curated.curation.id, tmp_path)
    second = again(tmp_path)
    assert second.content_hash == curated.curation.content_hash
    third_folder = tmp_path / "again"
    curated.client.curations.export(second.id, third_folder)
    for path in sorted(tmp_path.glob("*.tar")):
        assert (third_folder / path.name).read_bytes() == path.read_bytes()


def test_stream__is_one_tar_of_all_samples(curated: Curated) -> None:
    answer = httpx.get(curated.url, params={"format": "webdataset"})
    assert answer.headers["content-type"] == "application/x-tar"
    files = members(answer.content)
    texts = {name[:-4]: content.decode() for name, content in files.items() if name.endswith(".txt")}
    assert texts == curated.captions


def test_without_images__there_are_none(curated: Curated) -> None:
    files = members(httpx.get(curated.url, params={"images": "false"}).content)
    assert {name.rpartition(".")[2] for name in files} == {"txt", "json"}


def test_max_concepts__are_the_best(curated: Curated) -> None:
    files = members(httpx.get(curated.url, params={"max_concepts": 2, "images": "false"}).content)
    assert any(len(archive.concepts) > 2 for archive in curated.archives.values())
    for key, archive in curated.archives.items():
        document = json.loads(files[f"{key}.json"])
        assert document["cocu"]["concepts"] == expected_concepts(archive)[:2]


def test_released__is_caption_scores_and_clusters(curated: Curated) -> None:
    files = members(httpx.get(curated.url, params={"format": "released"}).content)
    assert not any(name.endswith(".json") for name in files)
    for key, archive in curated.archives.items():
        caption, scores, clusters = files[f"{key}.txt"].decode().split("\n")
        assert caption == " ".join(curated.captions[key].splitlines())
        assert list(json.loads(scores).items()) == [
            (concept.concept, concept.score) for concept in archive.concepts
        ]
        assert json.loads(clusters) == {}
    images = {name.rpartition(".")[0]: data for name, data in files.items() if not name.endswith(".txt")}
    assert images == curated.images


def test_released__names_clusters_when_asked(curated: Curated) -> None:
    files = members(httpx.get(curated.url, params={"format": "released", "clusters": "true"}).content)
    archive = max(curated.archives.values(), key=lambda archive: len(archive.concepts))
    clusters = json.loads(files[f"{archive.key}.txt"].decode().split("\n")[2])
    named = {concept: int(cluster) for cluster, concepts in clusters.items() for concept in concepts}
    assert named == {concept.concept: concept.cluster for concept in archive.concepts}


@pytest.mark.parametrize("caption", ["a\nb", "a\r\nb", "a\u2028b", "a\x0bb", "a\x85b", "a\x1eb"])
def test_released__is_three_lines_whatever_the_caption_holds(caption: str) -> None:
    concepts: list[dict[str, Any]] = [{"concept": "line\nbreak", "score": 1.0, "cluster": None}]
    lines = released_text(caption, concepts, clusters=True).splitlines()
    assert lines == ["a b", '{"line\\nbreak": 1.0}', "{}"]
