"""One end is not the end of everything: what follows is read, or named."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from cocu.formats.limits import Limits
from cocu.formats.rejections import Reason

from .archives import keys, picture, read, reasons, tar_of, zip_of

A = [("a.jpg", picture(1)), ("a.txt", b"a dog")]
B = [("b.jpg", picture(2)), ("b.txt", b"a cat")]
UNLISTED = [(None, Reason.UNLISTED_BYTES)]


def packed(how: str, data: bytes) -> bytes:
    if how == "zst":
        return bytes(pa.compress(data, "zstd", asbytes=True))
    return gzip.compress(data) if how == "gz" else data


@pytest.mark.parametrize("how", ["plain", "gz", "zst"])
def test_tars_one_after_the_other_are_all_read(how: str) -> None:
    first, second = tar_of(A).getvalue(), tar_of(B).getvalue()
    assert keys(io.BytesIO(packed(how, first) + packed(how, second))) == ["a", "b"]
    assert keys(io.BytesIO(packed(how, first + bytes(5120) + second))) == ["a", "b"]


@pytest.mark.parametrize("how", ["plain", "gz", "zst"])
@pytest.mark.parametrize("junk", [b"\n", b"junk" * 1000])
def test_what_follows_a_tar_and_is_none_is_named(how: str, junk: bytes) -> None:
    data = tar_of(A).getvalue()
    for content in (packed(how, data + junk), packed(how, data) + junk):
        samples, rejections = read(io.BytesIO(content))
        assert [sample.key for sample in samples] == ["a"]
        assert reasons(rejections) == UNLISTED


def test_zeros_after_the_end_are_padding() -> None:
    data = tar_of(A).getvalue()
    assert keys(io.BytesIO(data + bytes(99_999))) == ["a"]
    assert keys(io.BytesIO(gzip.compress(data) + bytes(999))) == ["a"]


def test_a_damaged_second_tar_costs_only_itself() -> None:
    samples, rejections = read(io.BytesIO(tar_of(A).getvalue() + tar_of(B).getvalue()[:700]))
    assert [sample.key for sample in samples] == ["a"]
    assert reasons(rejections) == [(None, Reason.TRUNCATED_ARCHIVE)]


def test_the_same_names_in_two_tars_are_samples_each_with_their_own_captions() -> None:
    other = [("a.txt", b"another dog"), ("a.jpg", picture(9))]
    samples, rejections = read(io.BytesIO(tar_of(A).getvalue() + tar_of(other).getvalue()))
    assert [(sample.caption, sample.image) for sample in samples] == [
        ("a dog", picture(1)),
        ("another dog", picture(9)),
    ]
    assert rejections == []


def test_limits_hold_for_all_of_them_together() -> None:
    data = tar_of(A).getvalue() + tar_of(B).getvalue()
    assert reasons(read(io.BytesIO(data), Limits(max_entries=3))[1]) == [(None, Reason.TOO_MANY_ENTRIES)]
    both = zip_of(A).getvalue() + zip_of(B).getvalue()
    assert reasons(read(io.BytesIO(both), Limits(max_entries=3))[1]) == [(None, Reason.TOO_MANY_ENTRIES)]


def test_zips_one_after_the_other_are_all_read() -> None:
    assert keys(io.BytesIO(zip_of(A).getvalue() + zip_of(B).getvalue())) == ["a", "b"]


@pytest.mark.parametrize("size", [1, 1000, 200_000])
@pytest.mark.parametrize("where", ["before", "between", "after"])
def test_what_is_in_no_zip_is_named(where: str, size: int) -> None:
    junk = b"x" * size
    parts = {
        "before": junk + zip_of(A).getvalue() + zip_of(B).getvalue(),
        "between": zip_of(A).getvalue() + junk + zip_of(B).getvalue(),
        "after": zip_of(A).getvalue() + zip_of(B).getvalue() + junk,
    }
    samples, rejections = read(io.BytesIO(parts[where]))
    assert [sample.key for sample in samples] == ["a", "b"]
    assert reasons(rejections) == UNLISTED
    assert f"{size} bytes" in rejections[0].detail


def test_members_that_the_directory_does_not_list_are_named() -> None:
    archive = io.BytesIO(zip_of([*A, *B]).getvalue())
    with zipfile.ZipFile(archive, "a") as opened:
        for name in ("b.jpg", "b.txt"):
            opened.filelist.remove(opened.NameToInfo.pop(name))
        opened.comment = b"cut down"
    samples, rejections = read(archive)
    assert [sample.key for sample in samples] == ["a"]
    assert reasons(rejections) == UNLISTED


def test_zips_that_were_written_without_seeking_or_with_a_comment_are_whole() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise io.UnsupportedOperation

    target = Pipe()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (*A, *B):
            archive.writestr(name, data)
        archive.comment = b"PK\x05\x06 in a comment"
    assert keys(io.BytesIO(target.getvalue())) == ["a", "b"]


def test_folders_that_are_not_entered_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in A:
        (tmp_path / name).write_bytes(data)
    (tmp_path / "closed").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent)
    enter = os.scandir

    def refuse(path: str) -> object:
        # Who runs the tests as root may enter every folder.
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return enter(path)

    monkeypatch.setattr(os, "scandir", refuse)
    samples, rejections = read(tmp_path)
    assert [sample.key for sample in samples] == ["a"]
    assert [(rejection.member, rejection.reason) for rejection in rejections] == [
        ("elsewhere", Reason.NOT_A_REGULAR_FILE),
        ("closed", Reason.UNREADABLE_MEMBER),
    ]


def test_an_archive_that_unpacks_itself_is_read(tmp_path: Path) -> None:
    file = tmp_path / "photos.exe"
    file.write_bytes(b"MZ" * 5000 + zip_of(A).getvalue())
    samples, rejections = read(file)
    assert [sample.key for sample in samples] == ["a"]
    assert reasons(rejections) == UNLISTED
