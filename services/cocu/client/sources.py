"""What can be uploaded from a path: archives as they are, loose images packed into tars.

    photos.tar, pairs.parquet, …    one upload
    cc3m.tsv, pairs.csv             of URLs: one upload for every 100,000 rows
    captions.csv, train.tsv, …      of paths on this machine: tars of the images they name, with captions
    folder/**/*.tar, *.zip, *.parquet  an upload each; not the tables that img2dataset leaves beside its tars
    folder/*.tsv, *.csv             likewise, where the folder holds nothing else
    folder/**/*.jpg + *.txt, *.json, …  tars of at most 10,000 samples, packed one at a time into a file
    folder/img_emb/*.npy + folder/metadata/*.parquet   embeddings as clip-retrieval writes them: a tar a pair
    folder with metadata.jsonl, captions*.json, or another .csv, .tsv, .jsonl, .token or .txt with columns of
                                    paths and of captions: one tar, since these name every image

Files and folders whose names begin with a dot are ignored: download tools, such as Hugging Face's, keep their
caches there. Packing is deterministic (sorted by name, without times and owners). So the same folder gives
the same uploads, and to upload it again changes nothing.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from cocu.client.exceptions import NothingToUploadError
from cocu.client.image_tables import ImageTable, TableImage, read_image_table
from cocu.client.tables import Span, spans
from cocu.sample_names import ENDINGS, Role, file_name
from cocu.schemas import formats
from cocu.text.tables import HEAD_BYTES, names_images, text_names_images

TABLES = (".csv", ".tsv")
LISTS = (".token", ".txt")
"""Endings of tables as Flickr's are called; of a .txt its content tells."""
CAPTION_TABLES = re.compile(r"metadata\.(jsonl|csv)|captions.*\.json", re.IGNORECASE)
EMBEDDINGS, METADATA = "img_emb", "metadata"
IMAGES = tuple(f".{ending}" for ending in ENDINGS[Role.IMAGE])
ARROW = (
    "contains what datasets.save_to_disk writes (.arrow), which is none of the accepted formats; "
    "write Parquet instead: datasets.load_from_disk(…).to_parquet('pairs.parquet')"
)
SAMPLES_PER_PART = 10_000
BYTES_PER_PART = 1 << 30


@dataclass(frozen=True)
class Part:
    """One planned upload: an existing file, or files of a folder that will be packed.

    embeddings: whether it contains embeddings instead of images. table_images, lines: of a table of images,
    the images that it names, and other lines of its metadata.jsonl.
    """

    name: str
    file: Path | None = None
    folder: Path | None = None
    images: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    embeddings: bool = False
    span: Span | None = None
    table_images: tuple[TableImage, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of its files; for a part that will be packed, without the overhead of the tar."""
        if self.span is not None:
            return self.span.size
        if self.file is not None:
            return self.file.stat().st_size
        named = (image.file for image in self.table_images)
        return sum(member.stat().st_size for member in (*self.tables, *self.images, *named))

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """The file to send; a packed file is deleted afterwards."""
        if self.file is not None and self.span is None:
            yield self.file
            return
        with tempfile.TemporaryDirectory(prefix="cocu-upload-") as scratch:
            packed = Path(scratch) / "part"
            if self.span is not None:
                assert self.file is not None
                self.span.copy(self.file, packed)
            elif self.table_images:
                _pack_table(self.table_images, self.lines, packed)
            else:
                assert self.folder is not None
                _pack(self.folder, self.tables, self.images, packed)
            yield packed


@dataclass(frozen=True)
class Survey:
    """The uploads of a path, in a fixed order, and its files that are in none of them."""

    parts: tuple[Part, ...]
    ignored: tuple[Path, ...]


def survey(path: Path, *, image_column: str | None = None, caption_column: str | None = None) -> Survey:
    """The uploads of a path and its ignored files; raises NothingToUploadError."""
    uploads = parts(path, image_column=image_column, caption_column=caption_column)
    taken = {
        file for part in uploads for file in (part.file, *part.tables, *_packed(part)) if file is not None
    }
    files, closed = _walk(path) if path.is_dir() else ([], [])
    return Survey(tuple(uploads), tuple(file for file in sorted([*files, *closed]) if file not in taken))


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder, sorted; and the folders that are not entered: links and unreadable ones."""
    files: list[Path] = []
    closed: list[Path] = []
    errors: list[OSError] = []
    for current, folders, names in os.walk(folder, onerror=errors.append):
        members = [Path(current, name) for name in (*names, *folders)]
        files += [member for member in members if member.is_file()]
        closed += [member for member in members if member.is_symlink() and not member.is_file()]
    return sorted(files), closed + [Path(error.filename) for error in errors]


def parts(path: Path, *, image_column: str | None = None, caption_column: str | None = None) -> list[Part]:
    """The uploads of a file or folder, in a fixed order; raises NothingToUploadError.

    image_column, caption_column: of a table of images on this machine, where their names are not known ones.
    """
    if path.is_file():
        ending = path.suffix.lower()
        if ending in TABLES or (ending in LISTS and _names_images(path, beside_image=False)):
            return _table_parts(path, image_column, caption_column)
        if path.suffix.lower() == ".arrow":
            raise NothingToUploadError(f"{path} {ARROW}")
        return [_file_part(path)]
    if not path.is_dir():
        raise NothingToUploadError(f"there is no file or folder {path}")
    if (path / EMBEDDINGS).is_dir():
        return _embedding_parts(path)
    files = [member for member in _walk(path)[0] if not _hidden(member, path)]
    top = [member for member in files if member.parent == path]
    images = [member for member in files if member.suffix.lower() in IMAGES]
    tables = _tables(files, images)
    uploads = _archive_parts([member for member in files if _is_archive(member)], path)
    uploads += _packed_parts(path, images, tables)
    uploads = uploads or [
        part
        for member in top
        if member.suffix.lower() in TABLES
        for part in _table_parts(member, image_column, caption_column)
    ]
    if not uploads and any(member.suffix.lower() == ".arrow" for member in files):
        raise NothingToUploadError(f"{path} {ARROW}")
    if not uploads:
        raise NothingToUploadError(
            f"{path} contains neither tar, zip or Parquet files ({', '.join(formats.ENDINGS)}) "
            f"nor images ({', '.join(IMAGES)}) nor tables ({', '.join(TABLES)})"
        )
    return uploads


def _embedding_parts(folder: Path) -> list[Part]:
    """A tar for every pair of files with the same number at the end of their names."""
    vectors = _numbered(folder / EMBEDDINGS, "*.npy")
    tables = _numbered(folder / METADATA, "*.parquet")
    unpaired = sorted(vectors.keys() ^ tables.keys())
    if unpaired or not vectors:
        reason = f"number {unpaired[0]} has only one of them" if unpaired else "there is none"
        raise NothingToUploadError(
            f"{folder} must contain an {EMBEDDINGS}/*.npy and a {METADATA}/*.parquet for every number; "
            f"{reason}"
        )
    base = upload_name(folder.resolve().name)
    return [
        Part(
            name=f"{base}-{number:05d}.tar",
            folder=folder,
            tables=(vectors[number], tables[number]),
            embeddings=True,
        )
        for number in sorted(vectors)
    ]


def _numbered(folder: Path, pattern: str) -> dict[int, Path]:
    numbered: dict[int, Path] = {}
    for file in sorted(folder.glob(pattern)):
        match = re.search(r"\d+$", file.stem)
        if match is None or int(match[0]) in numbered:
            raise NothingToUploadError(f"{file} must end in a number that no other file has")
        numbered[int(match[0])] = file
    return numbered


def upload_name(name: str) -> str:
    """A valid name of an upload: characters other than letters, digits, spaces and `._-()+,=@` become `_`.

    >>> upload_name("été & co.tar"), upload_name(".tar")
    ('été _ co.tar', '_tar')
    """
    return re.sub(r"^\W|[^\w .()+,=@-]", "_", name[-200:]) or "images"


def _file_part(file: Path) -> Part:
    return Part(name=upload_name(file.name), file=file)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _archive_parts(files: list[Path], folder: Path) -> list[Part]:
    """An upload for each file, named by its path in the folder; a number makes equal names different."""
    uploads: dict[str, Part] = {}
    for file in files:
        first = name = upload_name("-".join(file.relative_to(folder).parts))
        number = 1
        while name in uploads:
            number += 1
            stem, dot, extension = first.partition(".")
            name = f"{stem}-{number}{dot}{extension}"
        uploads[name] = Part(name=name, file=file)
    return list(uploads.values())


def _tables(files: list[Path], images: list[Path]) -> list[Path]:
    """The tables that caption these images."""
    stems = {image.with_suffix("") for image in images}
    return [
        file for file in files if images and _names_images(file, beside_image=file.with_suffix("") in stems)
    ]


def _names_images(file: Path, *, beside_image: bool) -> bool:
    if CAPTION_TABLES.fullmatch(file.name):
        return True
    ending = file.suffix.lower().removeprefix(".")
    is_text = ending in ENDINGS[Role.CAPTION] and not beside_image
    if ending not in ENDINGS[Role.TABLE] and not is_text:
        return False
    with file.open("rb") as content:
        head = content.read(HEAD_BYTES)
    return text_names_images(file.name, head) if is_text else names_images(file.name, head)


def _table_parts(file: Path, image_column: str | None, caption_column: str | None) -> list[Part]:
    table = read_image_table(file, image_column=image_column, caption_column=caption_column)
    if table is not None:
        return _image_table_parts(upload_name(file.stem), table)
    parts = spans(file)
    if len(parts) == 1:
        return [_file_part(file)]
    return [
        Part(name=upload_name(f"{file.stem}-{number:05d}{file.suffix}"), file=file, span=span)
        for number, span in enumerate(parts)
    ]


def _image_table_parts(base: str, table: ImageTable) -> list[Part]:
    """Tars of the images; the first also has the reports on rows that cannot be used."""
    groups: list[list[TableImage]] = []
    size = BYTES_PER_PART
    for image in table.images:
        if size >= BYTES_PER_PART or len(groups[-1]) >= SAMPLES_PER_PART:
            groups.append([])
            size = 0
        groups[-1].append(image)
        size += image.file.stat().st_size
    return [
        Part(
            name=f"{base}-{number:05d}.tar",
            table_images=tuple(group),
            lines=tuple(table.lines if number == 0 else ()),
        )
        for number, group in enumerate(groups)
    ]


def _is_archive(file: Path) -> bool:
    beside_tar = file.suffix.lower() == ".parquet" and file.with_suffix(".tar").is_file()
    return file.name.lower().endswith(formats.ENDINGS) and not beside_tar


def _packed_parts(folder: Path, images: list[Path], tables: list[Path]) -> list[Part]:
    base = upload_name(folder.resolve().name)
    if images and tables:
        # One tar, however large: a table names images by path, and they must be in the same upload.
        return [Part(name=f"{base}-00000.tar", folder=folder, images=tuple(images), tables=tuple(tables))]
    groups: list[list[Path]] = []
    size = BYTES_PER_PART
    for image in images:
        if size >= BYTES_PER_PART or len(groups[-1]) >= SAMPLES_PER_PART:
            groups.append([])
            size = 0
        groups[-1].append(image)
        size += image.stat().st_size
    return [
        Part(name=f"{base}-{number:05d}.tar", folder=folder, images=tuple(group))
        for number, group in enumerate(groups)
    ]


def _pack(folder: Path, tables: tuple[Path, ...], images: tuple[Path, ...], target: Path) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for member in (*tables, *_with_sidecars(images)):
            _add(tar, member, member.relative_to(folder).as_posix())


def _pack_table(images: tuple[TableImage, ...], lines: tuple[str, ...], target: Path) -> None:
    text = "".join(f"{line}\n" for line in (*lines, *(image.line() for image in images)))
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        metadata = text.encode("utf-8", "replace")
        information = tarfile.TarInfo("metadata.jsonl")
        information.size = len(metadata)
        tar.addfile(information, BytesIO(metadata))
        for image in images:
            _add(tar, image.file, image.member)


def _packed(part: Part) -> list[Path]:
    return [*_with_sidecars(part.images), *(image.file for image in part.table_images)]


def _with_sidecars(images: tuple[Path, ...]) -> list[Path]:
    """Images, each with its sidecar files: those named as the image, with or without its ending."""
    folders = {folder: _sidecars(folder) for folder in dict.fromkeys(image.parent for image in images)}
    return [
        member
        for image in images
        for member in (
            image,
            *(
                sidecar
                for name in dict.fromkeys((image.stem, image.name))
                for sidecar in folders[image.parent].get(unicodedata.normalize("NFC", name), ())
            ),
        )
    ]


def _sidecars(folder: Path) -> dict[str, list[Path]]:
    """The caption and metadata files in a folder, by their names without ending."""
    sidecars: dict[str, list[Path]] = {}
    for member in sorted(folder.iterdir(), key=lambda member: (member.suffix.lower() == ".json", member)):
        name = file_name(member.name, first_dot=False)
        if name.role in (Role.CAPTION, Role.METADATA) and member.is_file():
            sidecars.setdefault(unicodedata.normalize("NFC", name.stem), []).append(member)
    return sidecars


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    information = tarfile.TarInfo(name)
    information.size = path.stat().st_size
    with path.open("rb") as content:
        tar.addfile(information, content)
