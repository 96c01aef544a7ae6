"""Names of members as people, systems and attackers write them: nothing is lost without a word."""

from __future__ import annotations

import io
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest

from cocu.formats.notes import KEYS_ALIKE
from cocu.formats.reading import RawSample, open_reading
from cocu.formats.rejections import Reason, Rejection

from .archives import picture, read, reasons, tar_of, zip_of

NFC, NFD = (unicodedata.normalize(form, "été") for form in ("NFC", "NFD"))


def read_with_notes(source: io.BytesIO | Path) -> tuple[dict[str, str], list[Rejection], dict[str, int]]:
    with open_reading(source) as reading:
        items = list(reading.samples())
        captions = {item.key: item.caption for item in items if isinstance(item, RawSample)}
        return captions, [item for item in items if isinstance(item, Rejection)], reading.notes.counts()


def tar_in(page: str, members: list[tuple[str, bytes]], compression: str = "") -> io.BytesIO:
    target = io.BytesIO()
    with tarfile.open(
        fileobj=target, mode=f"w:{compression}", encoding=page, format=tarfile.GNU_FORMAT
    ) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    target.seek(0)
    return target


PAGES = [
    ("cp932", ["猫の写真", "犬と公園で遊ぶ"]),
    ("gbk", ["小猫照片", "公园里的狗"]),
    ("cp949", ["고양이 사진", "공원의 개"]),
    ("cp1251", ["Кошка на диване", "Собака в парке"]),
    ("koi8-r", ["Кошка на диване", "Собака в парке"]),
    ("cp866", ["Кошка на диване", "Собака в парке"]),
    ("cp1252", ["Café crème", "Übergröße"]),
    ("utf-8", ["Кошка на диване", "猫の写真"]),
]


@pytest.mark.parametrize("compression", ["", "gz"])
@pytest.mark.parametrize(("page", "stems"), PAGES)
def test_names_of_a_tar_in_the_code_page_of_its_writer(page: str, stems: list[str], compression: str) -> None:
    members = [(f"{stem}.jpg", picture(number)) for number, stem in enumerate(stems)]
    # The guess is for all names: the first are plain, and the captions lie behind the images.
    members = [("a.jpg", picture(9)), *members, *((f"{stem}.txt", b"x") for stem in ["a", *stems])]
    captions, rejections, notes = read_with_notes(tar_in(page, members, compression))
    assert (captions, rejections) == (dict.fromkeys(["a", *stems], "x"), [])
    assert [code for code in notes if "names of members" in code] == (
        [] if page == "utf-8" else [f"encoding_guessed: {page.replace('gbk', 'gb18030')} (names of members)"]
    )


@pytest.mark.parametrize(("page", "stems"), [page for page in PAGES if page[0] != "cp866"])
def test_names_of_a_folder_in_the_code_page_of_its_writer(
    page: str, stems: list[str], tmp_path: Path
) -> None:
    for number, stem in enumerate(stems):
        raw = os.path.join(os.fsencode(tmp_path), stem.encode(page))
        for ending, data in ((b".jpg", picture(number)), (b".txt", b"x")):
            with open(raw + ending, "wb") as file:
                file.write(data)
    captions, rejections, _ = read_with_notes(tmp_path)
    assert (captions, rejections) == (dict.fromkeys(stems, "x"), [])


def test_a_tar_that_is_cut_off_guesses_by_the_names_before_that_point() -> None:
    members = [
        (f"Кошка {n}.{ending}", picture(n) if ending == "jpg" else b"x")
        for n in range(9)
        for ending in ("jpg", "txt")
    ]
    whole = tar_in("cp1251", members).getvalue()
    captions, rejections, _ = read_with_notes(io.BytesIO(whole[: len(whole) // 2]))
    assert captions
    assert set(captions) <= {f"Кошка {n}" for n in range(9)}
    assert [rejection.reason for rejection in rejections] == [Reason.TRUNCATED_ARCHIVE]


def test_dots_and_spaces_at_the_end_of_a_name_are_of_no_ending(tmp_path: Path) -> None:
    members = [("a.jpg ", picture(1)), ("a.txt.", b"1"), ("b.JPG. .", picture(2)), ("b.txt", b"2")]
    members += [("c.jpg", picture(3)), ("c.txt  ", b"3")]
    for name, data in members:
        (tmp_path / name).write_bytes(data)
    for source in (tar_of(members), zip_of(members), tmp_path):
        captions, rejections, _ = read_with_notes(source)
        assert (captions, rejections) == ({"a": "1", "b": "2", "c": "3"}, [])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a.jpg", Reason.UNSAFE_NAME),
        ("/a.jpg", Reason.UNSAFE_NAME),
        ("b/../a.jpg", Reason.UNSAFE_NAME),
        ("C:\\a.jpg", Reason.UNSAFE_NAME),
        ("a\n.jpg", Reason.UNSAFE_NAME),
        ("y" * 600 + ".jpg", Reason.NAME_TOO_LONG),
        ("..jpg", Reason.PASSED_OVER),
    ],
)
def test_every_image_with_an_unusable_name_is_named(name: str, reason: Reason) -> None:
    for others in ([], [("a.jpg", picture(1)), ("a.txt", b"x")]):
        for source in (tar_of([(name, picture(2)), *others]), zip_of([(name, picture(2)), *others])):
            samples, rejections = read(source)
            assert [sample.key for sample in samples] == (["a"] if others else [])
            reported = {rejection.reason for rejection in rejections}
            assert reported == (
                {reason} if others or reason is not Reason.PASSED_OVER else {Reason.NO_SAMPLES}
            )


def test_what_is_passed_over_is_named_beside_names_that_are_refused() -> None:
    _, rejections = read(tar_of([("../a.jpg", picture(1)), (".b.jpg", picture(2)), ("c.parquet", b"x")]))
    assert reasons(rejections) == [
        (None, Reason.UNSAFE_NAME),
        (None, Reason.PASSED_OVER),
        (None, Reason.PASSED_OVER),
    ]


def test_a_name_with_nul_is_refused_and_not_cut() -> None:
    data = zip_of([("nulXa.jpg", picture(1)), ("nulXa.txt", b"x")]).getvalue().replace(b"nulX", b"nul\0")
    _, rejections = read(io.BytesIO(data))
    assert [(rejection.member, rejection.reason) for rejection in rejections] == [
        ("nul\\x00a.jpg", Reason.UNSAFE_NAME),
        ("nul\\x00a.txt", Reason.UNSAFE_NAME),
    ]
    info = tarfile.TarInfo("x")
    info.pax_headers, info.size = {"path": "nul\0a.jpg"}, 0
    _, rejections = read(tar_of([info], format=tarfile.PAX_FORMAT))
    assert reasons(rejections) == [(None, Reason.UNSAFE_NAME)]


def test_names_that_differ_in_case_or_unicode_form_alone_are_samples_each_and_counted() -> None:
    stems = ["a", "A", NFC, NFD, "b"]
    members = [
        member
        for number, stem in enumerate(stems)
        for member in ((f"{stem}.jpg", picture(number)), (f"{stem}.txt", str(number).encode()))
    ]
    for order in (members, members[::-1]):
        for source in (tar_of(order), zip_of(order)):
            captions, rejections, notes = read_with_notes(source)
            assert captions == {stem: str(number) for number, stem in enumerate(stems)}
            assert (rejections, notes[KEYS_ALIKE]) == ([], 2)


def test_the_same_name_twice_is_two_samples_and_a_copy_is_told() -> None:
    members = [("a.jpg", picture(1)), ("a.txt", b"1"), ("a.jpg", picture(2)), ("a.txt", b"2")]
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = zip_of([*members, *members[:2]])
    for source in (tar_of([*members, *members[:2]]), archive):
        samples, rejections = read(source)
        assert [sample.caption for sample in samples] == ["1", "2"]
        assert reasons(rejections) == [("a", Reason.DUPLICATE_KEY)]


def test_a_nested_archive_is_named_whatever_holds_it() -> None:
    inner = zip_of([("b.jpg", picture(2)), ("b.txt", b"x")]).getvalue()
    members = [
        ("a.jpg", picture(1)),
        ("a.txt", b"x"),
        ("b.zip", inner),
        ("c.TAR.gz", inner),
        ("d.tgz", inner),
    ]
    for source in (tar_of(members), tar_of(members, "w:gz"), zip_of(members, zipfile.ZIP_STORED)):
        samples, rejections = read(source)
        assert [sample.key for sample in samples] == ["a"]
        assert [
            rejection.member for rejection in rejections if rejection.reason is Reason.NESTED_ARCHIVE
        ] == [
            *("b.zip", "c.TAR.gz", "d.tgz"),
        ]


def test_images_under_other_names_are_counted_and_other_files_are_not(tmp_path: Path) -> None:
    others = [
        ("b.bin", picture(2)),
        ("c", picture(3, "PNG")),
        ("d.jpg.bak", picture(4, "WEBP")),
        ("e.md", b"#"),
    ]
    members = [("a.jpg", picture(1)), ("a.txt", b"x"), *others, ("empty", b"")]
    for name, data in members:
        (tmp_path / name).write_bytes(data)
    for source in (tar_of(members), tar_of(members, "w:gz"), zip_of(members), tmp_path):
        samples, rejections = read(source)
        assert [sample.key for sample in samples] == ["a"]
        assert [(rejection.member, rejection.reason) for rejection in rejections] == [
            ("b.bin", Reason.PASSED_OVER)
        ]
        assert rejections[0].detail.startswith("3 files of images by another ending than jpg")
    (rejection,) = read(tar_of(others))[1]
    assert (rejection.reason, "3 files of images" in rejection.detail) == (Reason.NO_SAMPLES, True)
