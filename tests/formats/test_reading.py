"""What is read, from files and folders."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pyarrow as pa
import pytest

from cocu.errors import InvalidInputError
from cocu.formats.limits import Limits
from cocu.formats.readers import HEAD_BYTES, detect_format
from cocu.formats.reading import RawSample, read_samples
from cocu.formats.rejections import DESCRIPTIONS, Reason, Rejection, printable

from .archives import picture, reasons, tar_of, zip_of

PAIRS = [("a.jpg", picture(1)), ("a.txt", b"a dog")]


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (tar_of(PAIRS).getvalue(), "tar"),
        (tar_of([]).getvalue(), "tar"),
        (tar_of(PAIRS, "w:gz").getvalue(), "tar.gz"),
        (tar_of(PAIRS, "w:gz").getvalue()[:30], "tar.gz"),
        (zip_of(PAIRS).getvalue(), "zip"),
        (zip_of([]).getvalue(), "zip"),
        (pa.compress(tar_of(PAIRS).getvalue(), "zstd", asbytes=True), "tar.zst"),
    ],
    # Not by their bytes, in which gzip writes the time.
    ids=["tar", "empty tar", "gzip", "cut gzip", "zip", "empty zip", "zstandard"],
)
def test_the_format_is_seen_by_the_first_bytes(data: bytes, format: str) -> None:
    assert detect_format(data[:HEAD_BYTES]) == format
    list(read_samples(io.BytesIO(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b'{"images": []}',
        b"7z\xbc\xaf\x27\x1c",
        b"BZh9" + bytes(600),
        b"\x1f\x8b" + b"\xff" * 600,
        b"key,caption\n1,a dog\n" * 60,
        b"just a text, with https://example.org in it\n" * 60,
        b"\x28\xb5\x2f\xfd" + b"\xff" * 600,
        pa.compress(b"key,caption\n" * 2000, "zstd", asbytes=True),
        b"url,caption\0\n" * 60,
        picture(),
    ],
)
def test_other_formats_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"'upload\.bin' begins .* a zip of images"):
        detect_format(data, "upload.bin")
    with pytest.raises(InvalidInputError, match="accepted formats"):
        list(read_samples(io.BytesIO(data)))


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(InvalidInputError, match=r"'upload\.bin' is empty"):
        detect_format(b"", "upload.bin")
    with pytest.raises(InvalidInputError, match="is empty"):
        list(read_samples(io.BytesIO()))


def test_a_gzip_of_something_else_is_refused() -> None:
    import gzip

    with pytest.raises(InvalidInputError, match="accepted formats"):
        detect_format(gzip.compress(b"key,caption\n" * 200))


def test_a_path_is_read_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of(PAIRS).getvalue())
    samples = read_samples(path)
    first = next(samples)
    assert isinstance(first, RawSample)
    assert first.key == "a"
    samples.close()  # type: ignore[attr-defined]


def test_threads_change_nothing(tmp_path: Path) -> None:
    members = [
        member
        for n in range(30)
        for member in ((f"{n}.jpg", picture(n) if n % 7 else b"bad"), (f"{n}.txt", b"x"))
    ]
    archive = tar_of(members)
    serial = list(read_samples(archive))
    assert sum(isinstance(item, Rejection) for item in serial) == 5
    assert list(read_samples(archive, threads=4)) == serial


def test_a_folder_is_read_in_order_and_within(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(picture(9))
    for name, data in (
        ("b.jpg", picture(2)),
        ("b.txt", b"a cat"),
        ("a.v2.jpg", picture(1)),
        ("a.v2.txt", b"a dog"),
        ("sub/c.png", picture(3, "PNG")),
        ("sub/c.txt", b"a bird"),
        ("sub/notes.md", b"#"),
        ("d.jpg", picture(4)),
    ):
        (folder / name).write_bytes(data)
    (folder / "e.jpg").symlink_to(outside)
    (folder / "f.jpg").symlink_to(folder / "b.jpg")
    (folder / "g.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "h.jpg")
    for name in ("e", "f", "g", "h"):
        (folder / f"{name}.txt").write_bytes(b"linked")
    items = list(read_samples(folder))
    assert [item.key for item in items if isinstance(item, RawSample)] == ["a_v2", "b", "f", "sub/c"]
    assert reasons([item for item in items if isinstance(item, Rejection)]) == [
        (None, Reason.NOT_A_REGULAR_FILE),
        (None, Reason.NOT_A_REGULAR_FILE),
        (None, Reason.NOT_A_REGULAR_FILE),
        (None, Reason.NOT_A_REGULAR_FILE),
        ("d", Reason.MISSING_CAPTION),
        ("e", Reason.MISSING_IMAGE),
        ("g", Reason.MISSING_IMAGE),
        ("h", Reason.MISSING_IMAGE),
    ]


def test_a_folder_beyond_the_limit_of_entries(tmp_path: Path) -> None:
    for n in range(4):
        (tmp_path / f"{n}.jpg").write_bytes(picture(n))
        (tmp_path / f"{n}.txt").write_bytes(b"x")
    items = list(read_samples(tmp_path, limits=Limits(max_entries=5)))
    assert sum(isinstance(item, RawSample) for item in items) == 2
    assert isinstance(items[-1], Rejection)
    assert items[-1].reason is Reason.TOO_MANY_ENTRIES


def test_every_reason_is_described() -> None:
    assert set(DESCRIPTIONS) == set(Reason)


def test_rejections_can_be_shown_anywhere() -> None:
    rejection = Rejection("k", "a\x1b[2J\0\ud800.jpg", Reason.UNSAFE_NAME, "x" * 1000)
    assert rejection.member.isprintable()
    assert len(rejection.detail) == 301
    assert printable("ein Bär, 熊 und 🐻") == "ein Bär, 熊 und 🐻"


@pytest.mark.photographs
def test_all_photographs_are_read(shared_folder: Path) -> None:
    items = [
        item
        for path in sorted((shared_folder / "datasets" / "coco-photos").glob("*.tar"))
        for item in read_samples(path, threads=2)
    ]
    assert len(items) == 388
    assert all(isinstance(item, RawSample) and item.caption for item in items)
    assert len({item.key for item in items}) == 388
