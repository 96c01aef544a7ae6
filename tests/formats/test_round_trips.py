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

from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.reading import RawSample, open_reading, read_samples

from .archives import picture
from .test_caption_tables import coco
from .test_parquet import HUGGING_FACE, IMG2DATASET

Samples = Sequence[RawSample]


def webdataset_tar(samples: Samples) -> bytes:
    target = io.BytesIO()
    with TarWriter(target, encoder=True) as writer:
        for sample in samples:
            writer.write({"__key__": sample.key, sample.extension: sample.image, "txt": sample.caption})
    return target.getvalue()


def webdataset_json(samples: Samples) -> bytes:
    target = io.BytesIO()
    with TarWriter(target, encoder=True, compress=True) as writer:
        for sample in samples:
            writer.write(
                {"__key__": sample.key, sample.extension: sample.image, "json": {"caption": sample.caption}}
            )
    return target.getvalue()


def webdataset_zstandard(samples: Samples) -> bytes:
    return bytes(pa.compress(webdataset_tar(samples), "zstd", asbytes=True))


def hugging_face(samples: Samples) -> bytes:
    rows = [
        {"image": {"bytes": sample.image, "path": f"{sample.key}.{sample.extension}"}, "text": sample.caption}
        for sample in samples
    ]
    return parquet(pa.Table.from_pylist(rows, HUGGING_FACE), row_group_size=100)


def img2dataset(samples: Samples) -> bytes:
    rows = [
        {"key": sample.key, "jpg": sample.image, "caption": sample.caption, "status": "success"}
        for sample in samples
    ]
    return parquet(pa.Table.from_pylist(rows, IMG2DATASET), compression="zstd")


def parquet(table: pa.Table, **how: object) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, **how)
    return target.getvalue()


def image_folder(samples: Samples) -> bytes:
    lines = [{"file_name": f"{sample.key}.{sample.extension}", "text": sample.caption} for sample in samples]
    return zipped(samples, {"metadata.jsonl": "\n".join(map(json.dumps, lines)).encode()})


def coco_zip(samples: Samples) -> bytes:
    table = coco({f"{sample.key}.{sample.extension}": [sample.caption] for sample in samples})
    return zipped(samples, {"annotations/captions.json": table})


def text_siblings(samples: Samples) -> bytes:
    return zipped(samples, {f"{sample.key}.txt": sample.caption.encode() for sample in samples})


def zipped(samples: Samples, others: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in others.items():
            archive.writestr(name, content)
        for sample in samples:
            archive.writestr(f"{sample.key}.{sample.extension}", sample.image)
    return target.getvalue()


FORMATS: dict[Callable[[Samples], bytes], str] = {
    webdataset_tar: "tar",
    webdataset_json: "tar.gz",
    webdataset_zstandard: "tar.zst",
    hugging_face: "parquet",
    img2dataset: "parquet",
    image_folder: "zip",
    coco_zip: "zip",
    text_siblings: "zip",
}
formats = pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)


def check(write: Callable[[Samples], bytes], samples: Samples) -> None:
    with open_reading(io.BytesIO(write(samples))) as reading:
        samples_read = list(reading.samples())
    assert reading.format == FORMATS[write]
    assert all(isinstance(sample, RawSample) for sample in samples_read)
    assert [facts(sample) for sample in samples_read] == [facts(sample) for sample in samples]


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
    check(write, [sample for sample in read_samples(tmp_path) if isinstance(sample, RawSample)])


def photographs(shared_folder: Path) -> list[RawSample]:
    return [
        sample
        for path in sorted((shared_folder / "datasets" / "coco-photos").glob("*.tar"))
        for sample in read_samples(path, threads=2)
        if isinstance(sample, RawSample)
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
    first = [sample for sample in read_samples(archive) if isinstance(sample, RawSample)]
    assert [facts(sample) for sample in first] == [facts(sample) for sample in samples]
    every = list(read_samples(archive, options=ReadOptions(captions=CaptionChoice.ALL)))
    assert len([sample for sample in every if isinstance(sample, RawSample)]) >= 5 * 60
