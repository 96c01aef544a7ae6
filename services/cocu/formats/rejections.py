"""Why a sample, or a part of an archive, could not be used: reason codes that a report counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Stable codes; `DESCRIPTIONS` says each in a sentence."""

    EMPTY_IMAGE = "empty_image"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_IMAGE_FORMAT = "unsupported_image_format"
    TRUNCATED_IMAGE = "truncated_image"
    CORRUPT_IMAGE = "corrupt_image"
    IMAGE_TOO_LARGE = "image_too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    EXTREME_ASPECT_RATIO = "extreme_aspect_ratio"

    MISSING_CAPTION = "missing_caption"
    EMPTY_CAPTION = "empty_caption"
    CAPTION_TOO_LONG = "caption_too_long"

    MISSING_IMAGE = "missing_image"
    NOT_DOWNLOADED = "not_downloaded"
    FETCH_NOT_ASKED = "fetch_not_asked"
    FETCH_FAILED = "fetch_failed"
    TOO_MANY_CAPTIONS = "too_many_captions"
    BAD_ROW = "bad_row"
    BAD_TABLE = "bad_table"
    BAD_EMBEDDING = "bad_embedding"
    ENCODER_NOT_NAMED = "encoder_not_named"
    DUPLICATE_KEY = "duplicate_key"
    AMBIGUOUS_NAME = "ambiguous_name"
    PASSED_OVER = "passed_over"

    UNSAFE_NAME = "unsafe_name"
    NAME_TOO_LONG = "name_too_long"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    NESTED_ARCHIVE = "nested_archive"
    ENCRYPTED_MEMBER = "encrypted_member"
    UNREADABLE_MEMBER = "unreadable_member"

    TRUNCATED_ARCHIVE = "truncated_archive"
    CORRUPT_ARCHIVE = "corrupt_archive"
    UNLISTED_BYTES = "unlisted_bytes"
    TOO_MANY_ENTRIES = "too_many_entries"
    DECOMPRESSED_TOO_LARGE = "decompressed_too_large"
    COMPRESSION_RATIO = "compression_ratio"
    TEXTS_TOO_LARGE = "texts_too_large"
    TOO_MANY_ROWS = "too_many_rows"
    NO_SAMPLES = "no_samples"


DESCRIPTIONS: dict[Reason, str] = {
    Reason.EMPTY_IMAGE: "The image file has no bytes.",
    Reason.NOT_AN_IMAGE: "The file is not an image, whatever its name says.",
    Reason.UNSUPPORTED_IMAGE_FORMAT: "The image is neither JPEG, PNG nor WebP.",
    Reason.TRUNCATED_IMAGE: "The image file ends before the image is complete.",
    Reason.CORRUPT_IMAGE: "The image file cannot be decoded.",
    Reason.IMAGE_TOO_LARGE: "The image file has more bytes than the limit.",
    Reason.TOO_MANY_PIXELS: "The image has more pixels than the limit.",
    Reason.EXTREME_ASPECT_RATIO: "One side of the image is too many times the other.",
    Reason.MISSING_CAPTION: "The image has no caption.",
    Reason.EMPTY_CAPTION: "The caption holds nothing but white space.",
    Reason.CAPTION_TOO_LONG: "The caption has more bytes than the limit.",
    Reason.MISSING_IMAGE: "The caption has no image.",
    Reason.NOT_DOWNLOADED: "The table says that its maker could not download the image.",
    Reason.FETCH_NOT_ASKED: "The images are given by URL, and fetching them was not asked for.",
    Reason.FETCH_FAILED: "The image could not be fetched from its URL.",
    Reason.TOO_MANY_CAPTIONS: "The image has more captions than the limit; the first ones are used.",
    Reason.BAD_ROW: "The row lacks a value, or holds one of the wrong kind.",
    Reason.BAD_TABLE: "The table of captions cannot be read.",
    Reason.BAD_EMBEDDING: "The embedding holds NaN or infinity, or nothing but zeros.",
    Reason.ENCODER_NOT_NAMED: "The file holds embeddings, and nobody said which encoder made them.",
    Reason.DUPLICATE_KEY: "An earlier sample has the same key and is the same, or is the image of that key.",
    Reason.AMBIGUOUS_NAME: "A table names an image by what several of them are called; none was guessed.",
    Reason.PASSED_OVER: "Files that are of no sample, but could have been meant to be.",
    Reason.UNSAFE_NAME: "The member's name is absolute, climbs with '..' or holds control characters.",
    Reason.NAME_TOO_LONG: "The member's name is longer than the limit.",
    Reason.NOT_A_REGULAR_FILE: "The member is a link, a device or a sparse file.",
    Reason.NESTED_ARCHIVE: "The member is itself a tar or zip file; those are not opened inside others.",
    Reason.ENCRYPTED_MEMBER: "The member is encrypted.",
    Reason.UNREADABLE_MEMBER: "The member's bytes cannot be read or fail their checksum.",
    Reason.TRUNCATED_ARCHIVE: "The tar or zip file ends early; the samples before that point are kept.",
    Reason.CORRUPT_ARCHIVE: "The file is damaged from this point on; the samples before it are kept.",
    Reason.UNLISTED_BYTES: "The file holds bytes that are of no member of it; they were not read.",
    Reason.TOO_MANY_ENTRIES: "The tar or zip file has more entries than the limit; the rest was not read.",
    Reason.DECOMPRESSED_TOO_LARGE: "The file unpacks to more bytes than the limit; the rest was not read.",
    Reason.COMPRESSION_RATIO: "The file unpacks to too many times its size; the rest was not read.",
    Reason.TEXTS_TOO_LARGE: "Captions and metadata together exceed the limit; the rest was not read.",
    Reason.TOO_MANY_ROWS: "The table has more rows than the limit; the rest was not read.",
    Reason.NO_SAMPLES: "There is not one image in it.",
}


REFUSED_BY = "refused_by"
"""In the link of a row that the operator's settings refuse: which settings; with others it may be had."""


@dataclass(frozen=True)
class Rejection:
    """Something that was skipped.

    key: the key of the sample, None where no sample can be named (the tail of an archive).
    member: the name inside the archive or folder, "" for the archive as a whole.
    detail: what exactly was wrong, in a sentence, without control characters, at most 300 characters.
    link: the row (key, url, caption, metadata) whose image a later attempt may get, None for anything else.
    """

    key: str | None
    member: str
    reason: Reason
    detail: str
    link: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "member", printable(self.member))
        object.__setattr__(self, "detail", printable(self.detail))


def printable(text: str, limit: int = 300) -> str:
    """`text` cut, and with control characters and surrogates escaped: what reports and terminals can take."""
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[:limit]
    )
    return escaped if len(text) <= limit else escaped + "…"
