"""Tables of captions as known datasets are given: Flickr8k, Flickr30k, and lists without a header."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cocu.client.sources import survey
from cocu.formats.notes import SEVERAL_TABLES
from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.reading import RawSample, open_reading
from cocu.formats.rejections import Reason, Rejection

from .archives import picture, reasons, tar_of, zip_of

IMAGES = [(f"Images/{number}.jpg", picture(number)) for number in (1, 2)]
TOKEN = b"1.jpg#0\tA dog , on grass .\n1.jpg#1\tA puppy .\n2.jpg#0\tA cat .\n"
FLICKR_8K = b'image,caption\n1.jpg,"A dog , on grass ."\n1.jpg,A puppy .\n2.jpg,A cat .\n'
FLICKR_30K = (
    b"image_name| comment_number| comment\n"
    b"1.jpg| 0| A dog , on grass .\n1.jpg| 1| A puppy .\n2.jpg| 0| A cat .\n"
)
CAPTIONS = {"Images/1-0": "A dog , on grass .", "Images/1-1": "A puppy .", "Images/2": "A cat ."}
ALL = ReadOptions(captions=CaptionChoice.ALL)


def read(source: io.BytesIO | Path) -> tuple[dict[str, str], list[Rejection], dict[str, int]]:
    with open_reading(source, options=ALL) as reading:
        items = list(reading.samples())
        captions = {item.key: item.caption for item in items if isinstance(item, RawSample)}
        return captions, [item for item in items if isinstance(item, Rejection)], reading.notes.counts()


def packed(members: list[tuple[str, bytes]], kind: str, folder: Path) -> io.BytesIO | Path:
    if kind in ("tar", "tar.gz"):
        return tar_of(members, "w:gz" if kind == "tar.gz" else "w")
    if kind == "zip":
        return zip_of(members)
    for name, content in members:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "folder"])
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("captions.txt", FLICKR_8K),
        ("Flickr8k.token.txt", TOKEN),
        ("results_20130124.token", TOKEN),
        ("results.csv", FLICKR_30K),
        ("list.tsv", TOKEN),
        ("list.csv", b"1.jpg,0,A puppy .\n2.jpg,0,A cat .\n"),
        ("list.txt", b"A puppy .\t1.jpg\r\nA cat .\t2.jpg\r\n"),
        ("captions.txt", FLICKR_8K.decode().encode("utf-16")),
        ("metadata.csv", b"1.jpg;A puppy .\n2.jpg;A cat .\n"),
    ],
)
def test_captions_of_known_tables_are_read_with_or_without_a_header(
    name: str, table: bytes, kind: str, tmp_path: Path
) -> None:
    captions, rejections, notes = read(packed([*IMAGES, (name, table)], kind, tmp_path))
    plain = table.replace(b"\0", b"")
    expected = CAPTIONS if b"grass" in plain else {"Images/1": "A puppy .", "Images/2": "A cat ."}
    assert (captions, rejections) == (expected, [])
    header = b"image" in plain
    assert any(code.startswith("table_without_header: paths in column") for code in notes) is not header


@pytest.mark.parametrize("name", ["captions.txt", "results.token", "list.tsv"])
def test_the_client_sends_such_tables_with_the_images(name: str, tmp_path: Path) -> None:
    packed([*IMAGES, ("Images/1.txt", b"own"), (name, TOKEN)], "folder", tmp_path)
    files = survey(tmp_path)
    assert files.ignored == ()
    (part,) = files.parts
    with part.opened() as file:
        captions, rejections, _ = read(file)
    assert (captions, rejections) == ({"Images/1": "own", "Images/2": "A cat ."}, [])


@pytest.mark.parametrize("name", ["Images/captions.txt", "Images/results.token"])
def test_the_client_takes_such_a_table_of_images_on_this_machine(name: str, tmp_path: Path) -> None:
    packed([*IMAGES, (name, TOKEN)], "folder", tmp_path)
    (part,) = survey(tmp_path / name).parts
    with part.opened() as file:
        captions, rejections, _ = read(file)
    assert (captions, rejections) == ({"1-0": "A dog , on grass .", "1-1": "A puppy .", "2": "A cat ."}, [])


def test_a_text_beside_the_image_of_its_name_is_its_caption_whatever_it_says() -> None:
    text = b"1.jpg\tA dog\n2.jpg\tA cat"
    captions, rejections, _ = read(tar_of([("a.txt", text), ("a.jpg", picture(1))]))
    assert (captions, rejections) == ({"a": text.decode()}, [])
    captions, rejections, _ = read(tar_of([("a.jpg.txt", text), ("a.jpg", picture(1))]))
    assert (captions, rejections) == ({"a": text.decode()}, [])


@pytest.mark.parametrize(
    "table", [b"1.jpg\t2.jpg#2\t3\n", b"1.jpg 0 a dog\n2.jpg 0 a cat\n", b"1.jpg,3\n2.jpg,4\n"]
)
def test_a_list_that_tells_no_captions_is_named_and_not_guessed(table: bytes) -> None:
    for name, reason in (("x.txt", Reason.MISSING_IMAGE), ("x.csv", Reason.PASSED_OVER)):
        captions, rejections, _ = read(zip_of([*IMAGES, (name, table)]))
        assert captions == {}
        assert [rejection.member for rejection in rejections if rejection.reason is reason] == [name]


def test_rows_of_a_list_that_cannot_be_used_are_counted() -> None:
    table = b"1.jpg#0\tA dog\n1.jpg#1\tA\tpuppy\n../2.jpg#0\tA cat\n9.jpg\tA cow\n"
    captions, rejections, _ = read(tar_of([*IMAGES, ("captions.txt", table)]))
    assert captions == {"Images/1": "A dog"}
    assert sorted(reasons(rejections), key=str) == [
        ("Images/2", Reason.MISSING_CAPTION),
        (None, Reason.BAD_ROW),
        (None, Reason.BAD_ROW),
        (None, Reason.MISSING_IMAGE),
    ]


def test_captions_of_several_tables_are_told() -> None:
    tables = [
        ("a.token", b"1.jpg#0\tdog run\n2.jpg#0\tcat\n"),
        ("b.token", b"1.jpg#0\tdogs run\n2.jpg#0\tcat\n"),
    ]
    captions, rejections, notes = read(tar_of([*IMAGES, *tables]))
    assert (captions, rejections) == (
        {"Images/1-0": "dog run", "Images/1-1": "dogs run", "Images/2": "cat"},
        [],
    )
    assert notes[SEVERAL_TABLES] == 1


def test_a_table_of_images_longer_than_any_caption_is_one() -> None:
    rows = b"".join(b"%d.jpg#0\tA dog number %d\n" % (number, number) for number in range(1, 4000))
    captions, rejections, _ = read(tar_of([*IMAGES, ("captions.txt", rows)]))
    assert captions == {"Images/1": "A dog number 1", "Images/2": "A dog number 2"}
    assert reasons(rejections) == [(None, Reason.MISSING_IMAGE)]
