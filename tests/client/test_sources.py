from __future__ import annotations

import tarfile
from pathlib import Path

import httpx
import pytest

from cocu.client import CocuClient, NothingToUploadError, sources, tables


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_parts__of_a_folder_are_its_archives_and_its_images_packed(tmp_path: Path) -> None:
    make(tmp_path / "set", "b.tar", "a.zip", "x/2.jpg", "x/2.txt", "1.PNG", "1.txt", "1.json", "readme.md")
    archives, packed = sources.parts(tmp_path / "set")[:-1], sources.parts(tmp_path / "set")[-1]
    assert [part.name for part in archives] == ["a.zip", "b.tar"]
    assert packed.name == "set-00000.tar"
    with packed.opened() as file, tarfile.open(file) as tar:
        assert tar.getnames() == ["1.PNG", "1.txt", "1.json", "x/2.jpg", "x/2.txt"]
        assert all(member.mtime == 0 for member in tar.getmembers())
    assert not file.exists()


def test_upload__progress_ends_at_its_total_however_much_packing_adds(tmp_path: Path) -> None:
    make(tmp_path / "set", "b.tar", "1.jpg", "1.txt", "2.jpg", "2.txt")
    reports: list[tuple[int, int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        name = request.url.path.rpartition("/")[2]
        upload = {"name": name, "dataset": "d", "state": "received", "created_at": "2026-01-01T00:00:00Z"}
        return httpx.Response(201, json=upload)

    with CocuClient("http://platform", transport=httpx.MockTransport(answer)) as client:
        client.datasets.upload("d", tmp_path / "set", progress=lambda done, of: reports.append((done, of)))
    assert all(done <= total for done, total in reports)
    done, total = reports[-1]
    files = sum(file.stat().st_size for file in (tmp_path / "set").iterdir())
    assert done == total > files


def test_parts__tables_of_captions_travel_with_all_the_images_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SAMPLES_PER_PART", 2)
    make(tmp_path / "coco", "annotations/captions_val2017.json", "val/1.jpg", "val/2.jpg", "val/3.jpg")
    (part,) = sources.parts(tmp_path / "coco")
    with part.opened() as file, tarfile.open(file) as tar:
        assert tar.getnames() == [
            "annotations/captions_val2017.json",
            "val/1.jpg",
            "val/2.jpg",
            "val/3.jpg",
        ]
    assert part.size == sum(len(f"val/{n}.jpg") for n in range(3)) + len("annotations/captions_val2017.json")


def test_parts__tables_are_uploads_where_they_are_not_about_other_files(tmp_path: Path) -> None:
    make(tmp_path / "downloaded", "00000.tar", "00000.parquet", "00000_stats.json", "00001.parquet")
    assert [part.name for part in sources.parts(tmp_path / "downloaded")] == ["00000.tar", "00001.parquet"]
    make(tmp_path / "tables", "b.tsv", "a.csv")
    assert [part.name for part in sources.parts(tmp_path / "tables")] == ["a.csv", "b.tsv"]
    make(tmp_path / "images", "1.jpg", "1.txt", "sizes.csv")
    assert [part.name for part in sources.parts(tmp_path / "images")] == ["images-00000.tar"]


def test_parts__parquet_is_taken_at_any_depth_but_not_out_of_hidden_folders(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    names = ["data/train-0.parquet", "data/test-0.parquet", "more-x.parquet", "more/x.parquet", "README.md"]
    make(
        folder, *names, ".cache/huggingface/data/train-0.parquet", "data/.part.parquet", "0.tar", "0.parquet"
    )
    survey = sources.survey(folder)
    assert [part.name for part in survey.parts] == [
        "0.tar",
        "data-test-0.parquet",
        "data-train-0.parquet",
        "more-x.parquet",
        "more-x-2.parquet",
    ]
    ignored = [file.relative_to(folder).as_posix() for file in survey.ignored]
    assert set(ignored) == {
        ".cache/huggingface/data/train-0.parquet",
        "data/.part.parquet",
        "0.parquet",
        "README.md",
    }


def test_survey__what_is_packed_is_taken_with_what_belongs_to_it(tmp_path: Path) -> None:
    make(tmp_path / "set", "1.jpg", "1.txt", "1.json", "2.txt", "metadata.csv", "notes.md")
    survey = sources.survey(tmp_path / "set")
    assert [file.name for file in survey.ignored] == ["2.txt", "notes.md"]


@pytest.mark.parametrize(
    ("name", "header", "rows"),
    [
        ("cc3m.tsv", "", ['a "dog\thttps://example.org/1'] * 7),
        ("cc12m.tsv", "url\tcaption\n", [f"https://example.org/{n}\ta dog" for n in range(7)]),
        (
            "pairs.csv",
            "url,caption\n",
            [f'https://example.org/{n},"a big\n""dog"", sitting"' for n in range(7)],
        ),
        ("odd.csv", "url,caption\n", [f'https://example.org/{n},"' + "x" * 200_000 for n in range(1)]),
    ],
)
def test_parts__of_a_long_table_are_cut_between_rows_and_begin_with_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, header: str, rows: list[str]
) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_PART", 3)
    file = tmp_path / name
    for end in ("", "\n"):
        file.write_text(header + "\n".join(rows) + end)
        texts = []
        for part in sources.parts(file):
            with part.opened() as opened:
                assert part.size == opened.stat().st_size
                texts.append(opened.read_text())
        assert all(text.startswith(header) for text in texts)
        assert header + "".join(text.removeprefix(header) for text in texts) == file.read_text()
        assert len(texts) == -(-len(rows) // 3)
        assert texts[0].count("https://") == min(len(rows), 3)


def test_parts__of_a_table_without_rows_are_itself(tmp_path: Path) -> None:
    for content in ("", "url,caption\n"):
        (tmp_path / "a.csv").write_text(content)
        (part,) = sources.parts(tmp_path / "a.csv")
        assert (part.name, part.size) == ("a.csv", len(content))


def test_parts__take_images_and_what_lies_beside_them_whatever_their_endings(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    make(
        folder, "1.JPG", "1.TXT", "2.jfif", "2.caption", "3.png", "3.png.json", "4.b.jpe", "4.b.text", "4.txt"
    )
    make(folder, "e\u0301.jpg", "\u00e9.txt", ".hidden.jpg")
    (folder / "elsewhere").symlink_to(tmp_path)
    survey = sources.survey(folder)
    (part,) = survey.parts
    with part.opened() as file, tarfile.open(file) as tar:
        names = tar.getnames()
    assert names == [
        *("1.JPG", "1.TXT", "2.jfif", "2.caption", "3.png", "3.png.json", "4.b.jpe", "4.b.text"),
        *("e\u0301.jpg", "\u00e9.txt"),
    ]
    assert {file.name for file in survey.ignored} == {"4.txt", ".hidden.jpg", "elsewhere"}


def test_pack__is_the_same_bytes_every_time(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        make(tmp_path / name / "set", "ü/2.jpg", "ü/2.txt", "1.jpg")
        (part,) = sources.parts(tmp_path / name / "set")
        with part.opened() as file:
            contents.append(file.read_bytes())
    assert contents[0] == contents[1]


def test_parts__are_small_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SAMPLES_PER_PART", 2)
    make(tmp_path / "set", *(f"{number}.jpg" for number in range(5)))
    parts = sources.parts(tmp_path / "set")
    assert [part.name for part in parts] == ["set-00000.tar", "set-00001.tar", "set-00002.tar"]
    assert [len(part.images) for part in parts] == [2, 2, 1]


def test_parts__of_nothing_usable_say_what_is(tmp_path: Path) -> None:
    make(tmp_path, "readme.md")
    with pytest.raises(NothingToUploadError, match=r"\.jpg"):
        sources.parts(tmp_path)
    with pytest.raises(NothingToUploadError, match="no file or folder"):
        sources.parts(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "uploaded"), [("a.tar", "a.tar"), ("a&b?.tar", "a_b_.tar"), (".tar", "_tar"), ("", "images")]
)
def test_upload_name__is_one_the_platform_takes(name: str, uploaded: str) -> None:
    assert sources.upload_name(name) == uploaded
