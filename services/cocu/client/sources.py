"""What a path holds that can be uploaded: archives as they are, loose images packed into tars on the way.

    photos.tar, pairs.parquet, …    one upload
    cc3m.tsv, pairs.csv             one upload for every 100,000 rows
    folder/**/*.tar, *.zip, *.parquet  an upload each; not the tables that img2dataset leaves beside its tars
    folder/*.tsv, *.csv             likewise, where the folder holds nothing else
    folder/**/*.jpg + *.txt         tars of at most 10,000 samples, packed one at a time into a temporary file
    folder/img_emb/*.npy + folder/metadata/*.parquet   embeddings as clip-retrieval writes them: a tar a pair
    folder with metadata.jsonl, metadata.csv or captions*.json: one tar, since these name every image

What begins with a dot, or lies in a folder that does, is left alone (caches of download tools, as of Hugging
Face's, lie there). Packing is deterministic (sorted by name, no times, no owners), so that the same folder
makes the same uploads and putting it in again changes nothing.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cocu.client.exceptions import NothingToUploadError
from cocu.client.tables import Span, spans

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip", ".parquet")
TABLES = (".csv", ".tsv")
CAPTION_TABLES = re.compile(r"metadata\.(jsonl|csv)|captions.*\.json", re.IGNORECASE)
EMBEDDINGS, METADATA = "img_emb", "metadata"
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
SIDECARS = (".txt", ".json")
SAMPLES_PER_PART = 10_000
BYTES_PER_PART = 1 << 30


@dataclass(frozen=True)
class Part:
    """One upload to be: a file that exists, or files of a folder still to be packed.

    embeddings: it is known to hold embeddings instead of images.
    """

    name: str
    file: Path | None = None
    folder: Path | None = None
    images: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    embeddings: bool = False
    span: Span | None = None

    @property
    def size(self) -> int:
        """Bytes to read for it; of a packed part, without the few the tar adds."""
        if self.span is not None:
            return self.span.size
        if self.file is not None:
            return self.file.stat().st_size
        return sum(member.stat().st_size for member in (*self.tables, *self.images))

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """The file to send; a packed one is removed afterwards."""
        if self.file is not None and self.span is None:
            yield self.file
            return
        with tempfile.TemporaryDirectory(prefix="cocu-upload-") as scratch:
            made = Path(scratch) / "part"
            if self.span is not None:
                assert self.file is not None
                self.span.copy(self.file, made)
            else:
                assert self.folder is not None
                _pack(self.folder, self.tables, self.images, made)
            yield made


@dataclass(frozen=True)
class Survey:
    """The uploads that a path comes to, in a fixed order, and the files of it that are in none of them."""

    parts: tuple[Part, ...]
    ignored: tuple[Path, ...]


def survey(path: Path) -> Survey:
    """What of a path is taken and what is not; raises NothingToUploadError."""
    found = parts(path)
    taken = {file for part in found for file in (part.file, *part.tables, *_packed(part)) if file is not None}
    files = sorted(member for member in path.rglob("*") if member.is_file()) if path.is_dir() else []
    return Survey(tuple(found), tuple(file for file in files if file not in taken))


def parts(path: Path) -> list[Part]:
    """The uploads that a file or folder comes to, in a fixed order; raises NothingToUploadError."""
    if path.is_file():
        return _of_table(path) if path.suffix.lower() in TABLES else [_whole(path)]
    if not path.is_dir():
        raise NothingToUploadError(f"there is no file or folder {path}")
    if (path / EMBEDDINGS).is_dir():
        return _embeddings(path)
    files = sorted(member for member in path.rglob("*") if member.is_file() and not _hidden(member, path))
    top = [member for member in files if member.parent == path]
    images = [member for member in files if member.suffix.lower() in IMAGES]
    tables = [member for member in files if CAPTION_TABLES.fullmatch(member.name)]
    found = _named([member for member in files if _is_archive(member)], path)
    found += _packed_parts(path, images, tables)
    found = found or [part for member in top if member.suffix.lower() in TABLES for part in _of_table(member)]
    if not found:
        raise NothingToUploadError(
            f"{path} holds neither archives ({', '.join(ARCHIVES)}) nor images ({', '.join(IMAGES)}) "
            f"nor tables ({', '.join(TABLES)})"
        )
    return found


def _embeddings(folder: Path) -> list[Part]:
    """A tar for every pair of files, which belong together by the number at the end of their names."""
    vectors = _numbered(folder / EMBEDDINGS, "*.npy")
    tables = _numbered(folder / METADATA, "*.parquet")
    alone = sorted(vectors.keys() ^ tables.keys())
    if alone or not vectors:
        which = f"number {alone[0]} has only one of them" if alone else "there is none"
        raise NothingToUploadError(
            f"{folder} must hold an {EMBEDDINGS}/*.npy and a {METADATA}/*.parquet of every number; {which}"
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
            raise NothingToUploadError(f"{file} must end in a number, and no other file in the same")
        numbered[int(match[0])] = file
    return numbered


def upload_name(name: str) -> str:
    """A file name as uploads may be called: what is not a letter, digit, space or one of `._-()+,=@` is `_`.

    >>> upload_name("été & co.tar"), upload_name(".tar")
    ('été _ co.tar', '_tar')
    """
    return re.sub(r"^\W|[^\w .()+,=@-]", "_", name[-200:]) or "images"


def _whole(file: Path) -> Part:
    return Part(name=upload_name(file.name), file=file)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _named(files: list[Path], folder: Path) -> list[Part]:
    """An upload for each file, called as it is within the folder, no two alike."""
    found: dict[str, Part] = {}
    for file in files:
        first = name = upload_name("-".join(file.relative_to(folder).parts))
        number = 1
        while name in found:
            number += 1
            stem, dot, extension = first.partition(".")
            name = f"{stem}-{number}{dot}{extension}"
        found[name] = Part(name=name, file=file)
    return list(found.values())


def _of_table(file: Path) -> list[Part]:
    parts = spans(file)
    if len(parts) == 1:
        return [_whole(file)]
    return [
        Part(name=upload_name(f"{file.stem}-{number:05d}{file.suffix}"), file=file, span=span)
        for number, span in enumerate(parts)
    ]


def _is_archive(file: Path) -> bool:
    beside_tar = file.suffix.lower() == ".parquet" and file.with_suffix(".tar").is_file()
    return file.name.lower().endswith(ARCHIVES) and not beside_tar


def _packed_parts(folder: Path, images: list[Path], tables: list[Path]) -> list[Part]:
    base = upload_name(folder.resolve().name)
    if images and tables:
        everything = tuple(images)
        return [Part(name=f"{base}-00000.tar", folder=folder, images=everything, tables=tuple(tables))]
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


def _packed(part: Part) -> list[Path]:
    return _with_sidecars(part.images)


def _with_sidecars(images: tuple[Path, ...]) -> list[Path]:
    found = (
        member for image in images for member in (image, *(image.with_suffix(each) for each in SIDECARS))
    )
    return [member for member in found if member.is_file()]


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    information = tarfile.TarInfo(name)
    information.size = path.stat().st_size
    with path.open("rb") as content:
        tar.addfile(information, content)
