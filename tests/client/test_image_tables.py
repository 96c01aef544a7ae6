"""CSV and TSV whose rows name images on this machine."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from cocu.client import NothingToUploadError, sources


def write_images(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def packed(table: Path, **columns: str) -> tuple[list[str], list[dict[str, object]]]:
    """The members of the only tar that a table comes to, and the lines of its metadata.jsonl."""
    (part,) = sources.parts(table, **columns)
    with part.opened() as file, tarfile.open(file) as tar:
        metadata = tar.extractfile("metadata.jsonl")
        assert metadata is not None
        lines = [json.loads(line) for line in metadata.read().splitlines()]
        return tar.getnames()[1:], lines


@pytest.mark.parametrize(
    "content",
    [
        "filepath\ttitle\nimg/1.jpg\ta dog, sitting\nimg/2.png\ta cat\n",
        'file_name,caption\nimg/1.jpg,"a dog, sitting"\nimg/2.png,a cat\n',
        "image;text\r\nimg\\1.jpg;a dog, sitting\r\nimg\\2.png;a cat\r\n",
        "a dog, sitting\timg/1.jpg\na cat\timg/2.png\n",
        "Bild|text\nimg/1.jpg|a dog, sitting\nimg/2.png|a cat\n",
    ],
)
def test_images_are_sent_with_their_captions(tmp_path: Path, content: str) -> None:
    write_images(tmp_path, "img/1.jpg", "img/2.png", "img/3.jpg")
    (tmp_path / "captions.csv").write_text(content, newline="")
    members, lines = packed(tmp_path / "captions.csv")
    assert members == ["img/1.jpg", "img/2.png"]
    assert [(line["file_name"], line["caption"]) for line in lines[1:]] == [
        ("img/1.jpg", ["a dog, sitting"]),
        ("img/2.png", ["a cat"]),
    ]
    assert "separator" in json.dumps(lines[0])


def test_what_cannot_be_used_is_told_with_its_line(tmp_path: Path) -> None:
    write_images(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "t.tsv").write_bytes(
        "path\tcaption\tby\n1.jpg\tthe dog’s bed\tme\n9.jpg\tgone\tme\n2.jpg\ttoo few\n"
        "1.jpg\tagain\tme\n".encode("cp1252")
    )
    members, (noted, *lines) = packed(tmp_path / "t.tsv")
    assert members == ["1.jpg"]
    assert noted["cocu"]["notes"]["encoding_guessed: cp1252"] == 1  # type: ignore[index]
    assert [line["cocu"] for line in lines[:-1]] == [
        {"reason": "missing_image", "detail": f"t.tsv, line 3: there is no file '9.jpg' in {tmp_path}"},
        {
            "reason": "bad_row",
            "detail": "t.tsv, line 4: 2 cells where the header has 3; quote cells that contain a tab",
        },
    ]
    assert lines[-1] == {"by": "me", "file_name": "1.jpg", "caption": ["the dog’s bed", "again"]}


def test_images_outside_the_table_s_folder_and_absolute_paths(tmp_path: Path) -> None:
    write_images(tmp_path, "photos/1.jpg", "lists/2.jpg")
    table = tmp_path / "lists" / "t.csv"
    table.write_text(f"filename,text\n../photos/1.jpg,a dog\n{tmp_path}/lists/2.jpg,a cat\n")
    assert packed(table)[0] == ["__/photos/1.jpg", "2.jpg"]


def test_columns_may_be_named(tmp_path: Path) -> None:
    write_images(tmp_path, "1.jpg")
    table = tmp_path / "t.csv"
    table.write_text("bild,wort,satz\n1.jpg,Hund,ein Hund\n")
    with pytest.raises(
        NothingToUploadError, match=r"no column of captions.*'wort', 'satz'.*--caption-column"
    ):
        sources.parts(table)
    assert packed(table, image_column="bild", caption_column="satz")[1][1] == {
        "wort": "Hund",
        "file_name": "1.jpg",
        "caption": ["ein Hund"],
    }


def test_a_table_of_urls_is_none_and_one_whose_files_are_gone_says_so(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("url,caption\nhttps://example.org/1.jpg,a dog\n")
    assert [part.name for part in sources.parts(table)] == ["t.csv"]
    table.write_text("image,caption\nhttps://example.org/1.jpg,a dog\n")
    assert [part.name for part in sources.parts(table)] == ["t.csv"]
    table.write_text("image,caption\n1.jpg,a dog\n")
    with pytest.raises(NothingToUploadError, match=r"none of the 1 images .* exists \('1\.jpg'\)"):
        sources.parts(table)


def test_long_tables_are_sent_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SAMPLES_PER_PART", 2)
    write_images(tmp_path, *(f"{n}.jpg" for n in range(5)))
    (tmp_path / "t.csv").write_text("file,text\n" + "".join(f"{n}.jpg,dog {n}\n" for n in range(5)))
    parts = sources.parts(tmp_path / "t.csv")
    assert [(part.name, len(part.table_images)) for part in parts] == [
        ("t-00000.tar", 2), ("t-00001.tar", 2), ("t-00002.tar", 1),
    ]  # fmt: skip
    assert [part.size for part in parts] == [10, 10, 5]


def test_a_table_beside_images_is_sent_with_them_if_it_names_them(tmp_path: Path) -> None:
    write_images(tmp_path / "set", "img/1.jpg", "2.jpg")
    (tmp_path / "set" / "train.tsv").write_text("filepath\ttitle\nimg/1.jpg\ta dog\n")
    (tmp_path / "set" / "sizes.csv").write_text("file,width\n2.jpg,7\n")
    (part,) = sources.parts(tmp_path / "set")
    with part.opened() as file, tarfile.open(file) as tar:
        assert tar.getnames() == ["train.tsv", "2.jpg", "img/1.jpg"]


@pytest.mark.parametrize("name", ["data-00000-of-00001.arrow", "."])
def test_what_save_to_disk_writes_is_refused_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(b"\xff\xff\xff\xff")
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(NothingToUploadError, match=r"save_to_disk.*accepted formats.*to_parquet"):
        sources.parts(tmp_path / name)
