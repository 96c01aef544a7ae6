"""Tar: read by webdataset over HTTP, and by tarfile."""

from __future__ import annotations

import io
import json
import shutil
import tarfile

import httpx
import pyarrow as pa
import pytest
import webdataset
from tests.batches.conftest import Curated

from cocu.batches.tar import _header


def test_tar__is_read_by_the_loader_of_webdataset_over_http(curated: Curated) -> None:
    if shutil.which("curl") is None:
        pytest.skip("webdataset reads HTTP with curl, which is not installed")
    source = f"{curated.url}?format=tar&global_batch=8&seed=3"
    loader = webdataset.WebDataset(source, shardshuffle=False, handler=webdataset.reraise_exception)
    samples = {sample["__key__"]: sample for sample in loader}
    assert samples.keys() == curated.captions.keys()
    for key, sample in samples.items():
        image = next(sample[extension] for extension in ("jpg", "png", "webp") if extension in sample)
        assert image == curated.images[key]
        assert sample["txt"].decode() == curated.captions[key]
        assert len(json.loads(sample["json"])["texts"]) == 3


def test_tar__is_the_arrow_stream_in_other_words(curated: Curated) -> None:
    parameters = {"global_batch": 16, "rank": 0, "world_size": 3, "include_scores": "true"}
    content = httpx.get(curated.url, timeout=60, params={**parameters, "format": "tar"}).content
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        drawn = [json.load(_opened(tar, member)) for member in tar if member.name.endswith(".json")]
    with pa.ipc.open_stream(httpx.get(curated.url, timeout=60, params=parameters).content) as reader:
        rows = [row for batch in reader for row in batch.to_pylist()]
    for values, row in zip(drawn, rows, strict=True):
        assert values == {name: row[name] for name in row if name not in ("image", "format")}


def test_tar__without_images_has_the_texts(curated: Curated) -> None:
    content = httpx.get(curated.url, timeout=60, params={"format": "tar", "images": "false"}).content
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = tar.getnames()
    assert sorted(names) == sorted(f"{key}.{kind}" for key in curated.captions for kind in ("txt", "json"))


@pytest.mark.parametrize(
    "name", ["a.jpg", "deep/er/a b.txt", "x" * 96 + ".jpg", "x" * 97 + ".jpg", "köln.png"]
)
@pytest.mark.parametrize("size", [0, 1, 512, 8**11 - 1])
def test_header__is_what_tarfile_reads(name: str, size: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(_header(name, size) + bytes(1024)), ignore_zeros=True) as tar:
        member = tar.next()
    assert member is not None
    assert (member.name, member.size, member.isreg(), member.mode) == (name, size, True, 0o644)


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> io.BufferedIOBase:
    file = tar.extractfile(member)
    assert file is not None
    return file
