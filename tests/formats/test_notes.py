"""What was decided, guessed or lost while a file was read, of samples that were accepted."""

from __future__ import annotations

import io
import json
from itertools import permutations
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cocu.curation import segmentation
from cocu.formats.notes import FIRST_FRAME
from cocu.formats.options import ReadOptions
from cocu.formats.reading import RawSample, open_reading
from cocu.formats.rejections import Rejection

from .archives import picture, tar_of, zip_of

ENGLISH, CHINESE = "the dog’s café – 5 €", "一只狗在草地上"


def read_with_notes(
    source: BinaryIO | Path, options: ReadOptions | None = None
) -> tuple[dict[str, str], list[Rejection], dict[str, int]]:
    with open_reading(source, options=options or ReadOptions()) as reading:
        items = list(reading.samples(fetch=lambda _: picture()))
        captions = {sample.key: sample.caption for sample in items if isinstance(sample, RawSample)}
        return (
            captions,
            [rejection for rejection in items if isinstance(rejection, Rejection)],
            reading.notes.counts(),
        )


MEMBERS = [
    ("a.txt", ENGLISH.encode("cp1252")),
    ("b.txt", CHINESE.encode("gb18030")),
    ("c.json", json.dumps({"caption": "ein Mädchen"}, ensure_ascii=False).encode("latin-1")),
]


def test_captions_of_an_archive_are_guessed_alike_whatever_their_order() -> None:
    images = [(f"{key}.jpg", picture(number)) for number, key in enumerate("abc")]
    for order in permutations(MEMBERS):
        captions, rejections, notes = read_with_notes(tar_of([*images, *order]))
        assert captions == {"a": ENGLISH, "b": CHINESE, "c": "ein Mädchen"}
        assert rejections == []
        assert notes == {"encoding_guessed: cp1252": 2, "encoding_guessed: gb18030": 1}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("metadata.csv", f"file_name;text\r\na.jpg;{ENGLISH}\r\n"),
        ("captions.tsv", f"filepath\ttitle\r\na.jpg\t{ENGLISH}\r\n"),
        ("metadata.jsonl", json.dumps({"file_name": "a.jpg", "text": ENGLISH}, ensure_ascii=False)),
        (
            "captions_val.json",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.jpg"}],
                    "annotations": [{"image_id": 1, "caption": ENGLISH}],
                },
                ensure_ascii=False,
            ),
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_tables_in_archives(name: str, table: str, encoding: str) -> None:
    captions, rejections, notes = read_with_notes(
        zip_of([("a.jpg", picture()), (name, table.encode(encoding))])
    )
    assert captions == {"a": ENGLISH}
    assert rejections == []
    assert any(code.startswith("encoding_guessed: cp1252") for code in notes) == (encoding == "cp1252")
    assert any("separator" in code for code in notes) == name.endswith(("csv", "tsv"))


def test_lost_characters_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "a.txt").write_bytes("ein Mädchen, 狗".encode()[:-1])
    assert read_with_notes(tmp_path) == ({"a": "ein Mädchen, \ufffd"}, [], {"characters_lost": 1})


def test_parquet_and_tables_of_urls() -> None:
    target = io.BytesIO()
    captions = pa.array(["le café".encode("latin-1"), b"a cat"]).view(pa.string())
    pq.write_table(pa.table({"image": [picture(1), picture(2)], "caption": captions}), target)
    assert read_with_notes(target)[2] == {"encoding_guessed: cp1252": 1}
    table = f"url;caption\r\nhttps://example.org/1.jpg;{ENGLISH}\r\n".encode("cp1252")
    captions_kept, _, notes = read_with_notes(io.BytesIO(table), ReadOptions(fetch=True))
    assert list(captions_kept.values()) == [ENGLISH]
    assert notes == {
        "encoding_guessed: cp1252": 1,
        "table: separator ';', quoted cells, CRLF, cp1252": 1,
    }


def test_captions_that_nothing_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    members: Any = [
        ("a.jpg", picture(1)),
        ("a.txt", CHINESE.encode()),
        ("b.jpg", picture(2)),
        ("b.txt", b"a dog"),
    ]
    assert read_with_notes(tar_of(members))[2] == {}
    monkeypatch.setattr(segmentation, "_icu", lambda: None)
    (code,) = read_with_notes(tar_of(members))[2]
    assert "captions_without_spaces" in code
    assert "pip install icu4py" in code


def test_of_animations_it_is_told_that_the_first_frame_is_used() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime")]
    members = [("still.png", picture(1, "PNG")), ("still.txt", b"x")]
    for format in ("PNG", "WEBP"):
        target = io.BytesIO()
        frames[0].save(target, format, save_all=True, append_images=frames[1:])
        # The ending says JPEG; what counts is the content.
        members += [(f"{format}.jpg", target.getvalue()), (f"{format}.txt", b"x")]
    captions, rejections, notes = read_with_notes(tar_of(members))
    assert (len(captions), rejections, notes) == (3, [], {FIRST_FRAME: 2})
