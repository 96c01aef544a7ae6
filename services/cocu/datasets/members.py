"""What an archive or a folder is made of, and what the names of its members mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from cocu.datasets.limits import Limits
from cocu.datasets.rejections import Reason, Rejection


@dataclass(frozen=True)
class Member:
    """A regular file with a safe name.

    pieces: its bytes, `size` of them, some at a time; may be called before the next member is asked for, and
    only then. Raises ArchiveEndsError or UnreadableMemberError.
    """

    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]

    def read(self) -> bytes:
        """All of its bytes."""
        return b"".join(self.pieces())


Members = Iterator[Member | Rejection]


class ArchiveEndsError(Exception):
    """Nothing after this point can or may be read."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnreadableMemberError(Exception):
    """This member cannot be read; the next may."""


class Role(Enum):
    """What a member is to its sample."""

    IMAGE = "image"
    CAPTION = "caption"
    METADATA = "metadata"
    TABLE = "captions of many images"
    EMBEDDINGS = "embeddings of many images"
    OTHER_IMAGE = "an image of a format that is not accepted"
    SECOND_IMAGE = "an image under a longer extension, such as a mask"
    ARCHIVE = "an archive"
    IGNORED = "ignored"


_IMAGES = frozenset({"jpg", "jpeg", "png", "webp"})
_OTHER_IMAGES = frozenset(
    {"gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jxl", "jp2", "svg", "ico", "ppm", "psd"}
)
_TABLES = frozenset({"metadata.jsonl", "metadata.csv"})
_ARCHIVES = ("tar", "tgz", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "zip", "7z", "rar", "tbz2", "txz")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]|^[A-Za-z]:")


@dataclass(frozen=True)
class SampleName:
    """The key of the sample that a member belongs to, and its role in it."""

    key: str
    role: Role


def sample_name(name: str, *, first_dot: bool) -> SampleName:
    """Split a checked name into key and role.

    first_dot: by WebDataset's rule the key is the path up to the first dot of its last part, so that
    `a.mask.png` belongs to `a`. Otherwise (folders, zips) it goes up to the last dot, and dots within
    become `_`, since shards are WebDatasets. Hidden files and those of macOS's resource forks are
    ignored.
    """
    folder, _, base = name.rpartition("/")
    if base.startswith(".") or name.startswith("__MACOSX/"):
        return SampleName("", Role.IGNORED)
    stem, _, extension = base.partition(".") if first_dot else base.rpartition(".")
    extension = extension.lower()
    if base.lower().endswith(tuple(f".{archive}" for archive in _ARCHIVES)):
        return SampleName("", Role.ARCHIVE)
    if base.lower() in _TABLES:
        return SampleName("", Role.TABLE)
    if base.lower().endswith(".npy"):
        return SampleName("", Role.EMBEDDINGS)
    if not stem:
        return SampleName("", Role.IGNORED)
    stem = stem.replace(".", "_")
    return SampleName(f"{folder}/{stem}" if folder else stem, _role(extension))


def _role(extension: str) -> Role:
    if extension in _IMAGES:
        return Role.IMAGE
    if extension == "txt":
        return Role.CAPTION
    if extension == "json":
        return Role.METADATA
    if extension in _OTHER_IMAGES:
        return Role.OTHER_IMAGE
    if extension.rpartition(".")[2] in _IMAGES:
        return Role.SECOND_IMAGE
    return Role.IGNORED


def check_name(raw: str, limits: Limits) -> str | Rejection:
    """A member's name without `./` and doubled slashes, or why it must not be used."""
    if len(raw.encode("utf-8", "surrogatepass")) > limits.max_name_bytes:
        return Rejection(
            None, raw, Reason.NAME_TOO_LONG, f"longer than the limit of {limits.max_name_bytes} bytes"
        )
    slashes = raw.replace("\\", "/")
    if _UNSAFE.search(raw) or slashes.startswith("/") or ".." in slashes.split("/"):
        return Rejection(None, raw, Reason.UNSAFE_NAME, "absolute, climbing or with control characters")
    return "/".join(part for part in raw.split("/") if part not in ("", "."))
