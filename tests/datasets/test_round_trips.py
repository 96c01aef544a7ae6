"""Samples in every format come back the same: small pictures always, the photographs if they are there."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from webdataset import TarWriter

from cocu.datasets.formats import Format
from cocu.datasets.options import CaptionChoice, ReadOptions
from cocu.datasets.reading import RawSample, open_reading, read_samples

from .archives import picture
from .test_caption_tables import coco
from .test_parquet import HUGGING_FACE, IMG2DATASET

Samples = Sequence[RawSample]


def webdataset_tar(samples: Samples) -> bytes:
    target = io.BytesIO()
    with TarWriter(target, encoder=True) as writer:
        for each in samples:
            writer.write({"__key__": each.key, each.extension: each.image, "txt": each.caption})
    return target.getvalue()


def webdataset_json(samples: Samples) -> bytes:
    target = io.BytesIO()
    with TarWriter(target, encoder=True, compress=True) as writer:
        for each in samples:
            writer.write({"__key__": each.key, each.extension: each.image, "json": {"caption": each.caption}})
    return target.getvalue()


def webdataset_zstandard(samples: Samples) -> bytes:
    return bytes(pa.compress(webdataset_tar(samples), "zstd", asbytes=True))


def hugging_face(samples: Samples) -> bytes:
    rows = [
        {"image": {"bytes": each.image, "path": f"{each.key}.{each.extension}"}, "text": each.caption}
        for each in samples
    ]
    return parquet(pa.Table.from_pylist(rows, HUGGING_FACE), row_group_size=100)


def img2dataset(samples: Samples) -> bytes:
    rows = [
        {"key": each.key, "jpg": each.image, "caption": each.caption, "status": "success"} for each in samples
    ]
    return parquet(pa.Table.from_pylist(rows, IMG2DATASET), compression="zstd")


def parquet(table: pa.Table, **how: object) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, **how)
    return target.getvalue()


def image_folder(samples: Samples) -> bytes:
    lines = [{"file_name": f"{each.key}.{each.extension}", "text": each.caption} for each in samples]
    return zipped(samples, {"metadata.jsonl": "\n".join(map(json.dumps, lines)).encode()})


def coco_zip(samples: Samples) -> bytes:
    table = coco({f"{each.key}.{each.extension}": [each.caption] for each in samples})
    return zipped(samples, {"annotations/captions.json": table})


def text_siblings(samples: Samples) -> bytes:
    return zipped(samples, {f"{each.key}.txt": each.caption.encode() for each in samples})


def zipped(samples: Samples, others: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in others.items():
            archive.writestr(name, content)
        for each in samples:
            archive.writestr(f"{each.key}.{each.extension}", each.image)
    return target.getvalue()


FORMATS: dict[Callable[[Samples], bytes], Format] = {
    webdataset_tar: Format.TAR,
    webdataset_json: Format.TAR_GZIP,
    webdataset_zstandard: Format.TAR_ZSTANDARD,
    hugging_face: Format.PARQUET,
    img2dataset: Format.PARQUET,
    image_folder: Format.ZIP,
    coco_zip: Format.ZIP,
    text_siblings: Format.ZIP,
}
formats = pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)


def check(write: Callable[[Samples], bytes], samples: Samples) -> None:
    with open_reading(io.BytesIO(write(samples))) as reading:
        found = list(reading.samples())
    assert reading.format is FORMATS[write]
    assert all(isinstance(each, RawSample) for each in found)
    assert [facts(each) for each in found] == [facts(each) for each in samples]


def facts(sample: RawSample) -> tuple[object, ...]:
    return (sample.key, sample.image, sample.caption, sample.extension, sample.width, sample.height)


@formats
def test_samples_come_back_the_same(write: Callable[[Samples], bytes], tmp_path: Path) -> None:
    for number, (caption, kind) in enumerate(
        [("a dog", "JPEG"), ('"quoted", with\ttab\nand newline', "PNG"), ("été 日本 🐻", "WEBP")]
    ):
        extension = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[kind]
        (tmp_path / f"{number:03}.{extension}").write_bytes(picture(number, kind))
        (tmp_path / f"{number:03}.txt").write_text(caption)
    check(write, [each for each in read_samples(tmp_path) if isinstance(each, RawSample)])


def photographs(shared_folder: Path) -> list[RawSample]:
    return [
        each
        for path in sorted((shared_folder / "datasets" / "coco-photos").glob("*.tar"))
        for each in read_samples(path, threads=2)
        if isinstance(each, RawSample)
    ]


@pytest.mark.photographs
def test_photographs_come_back_the_same(shared_folder: Path) -> None:
    samples = photographs(shared_folder)
    assert len(samples) == 388
    for write in FORMATS:
        check(write, samples[:60])


@pytest.mark.photographs
def test_photographs_with_their_published_captions(shared_folder: Path) -> None:
    samples = photographs(shared_folder)[:60]
    table = (shared_folder / "datasets" / "coco-photos" / "captions.json").read_bytes()
    archive = io.BytesIO(zipped(samples, {"annotations/captions_val2017.json": table}))
    first = [each for each in read_samples(archive) if isinstance(each, RawSample)]
    assert [facts(each) for each in first] == [facts(each) for each in samples]
    every = list(read_samples(archive, options=ReadOptions(captions=CaptionChoice.ALL)))
    assert len([each for each in every if isinstance(each, RawSample)]) >= 5 * 60
