"""The first pass over an archive: captions, metadata and tables are kept until their images come."""

from __future__ import annotations

import json
import unicodedata
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any, Generic, TypeVar

from cocu.formats.archive import ArchiveEndsError, Member, Members, UnreadableMemberError
from cocu.formats.caption_tables import BadTableError, CaptionTable, names_members, read_image_folder
from cocu.formats.captions import BadCaption, clean_caption, stated_captions
from cocu.formats.coco import WHOLE, caption_fields, captions_in_json, maybe_coco, read_coco
from cocu.formats.limits import Limits
from cocu.formats.metadata import parse_json
from cocu.formats.notes import METADATA_DAMAGED, METADATA_TOO_LARGE, Notes
from cocu.formats.options import ReadOptions
from cocu.formats.rejections import Reason, Rejection
from cocu.sample_names import ENDINGS, FileName, Role, file_name, sample_key, without_image_ending
from cocu.text.encodings import Decoder, decode_text, needs_guess
from cocu.text.tables import text_names_images

Text = TypeVar("Text")

_NO_IMAGE = "a caption without an image"
_WHY_NOT = {
    Role.HIDDEN: "whose names begin with a dot",
    Role.IGNORED: f"of images by another ending than {', '.join(ENDINGS[Role.IMAGE][:4])}",
    Role.OTHER_TABLE: (
        "that may be tables; COCO's are read, and .csv, .tsv and .jsonl with columns of paths and captions"
    ),
}
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_MOST_FIELDS = 64 << 20
"""Bytes of captions under longer endings that are kept; few are of an image."""


class Texts:
    """Captions, metadata and tables of an archive, by the paths of their images.

    members: how many there were. ending: why nothing after them can be read, None at the archive's own end.
    """

    def __init__(self, *, first_dot: bool, limits: Limits, options: ReadOptions, notes: Notes) -> None:
        self.notes = notes
        self._decoder = Decoder()
        self.first_dot = first_dot
        self.limits = limits
        self.options = options
        self.tables: list[CaptionTable] = []
        # As bytes where the encoding must be guessed, which takes a look at all of them.
        self.captions = _Siblings[str | bytes | BadCaption]()
        self.metadata = _Siblings[bytes]()
        self.members = 0
        self.embeddings = ""
        self.ending: Rejection | None = None
        self._images: list[str] = []
        self._refused = False
        # Tables under the ending of a text, until it is known whether an image of their name is there.
        self._possible_tables: list[tuple[str, FileName, bytes]] = []
        self._last_key = ""
        self._passed_over: dict[Role, list[str]] = {}
        self._bytes = 0
        self._bytes_of_fields = 0

    def read(self, members: Members) -> Iterator[Rejection]:
        """Read all texts; yield a rejection for every member that cannot be part of a sample."""
        try:
            for member in members:
                self.members += 1
                if isinstance(member, Rejection):
                    self._refused = True
                    yield member
                    continue
                name = file_name(member.name, first_dot=self.first_dot)
                if name.role is not Role.HIDDEN:
                    self._last_key = name.key or self._last_key
                yield from self._keep(member, name)
        except ArchiveEndsError as end:
            self.ending = Rejection(None, "", end.reason, end.detail)
        yield from self._settle_possible_tables()
        for table in self.tables:
            table.match(self._images)
        yield from self._not_read()

    def cut_off(self, key: str) -> bool:
        """Whether a sample lacks something because the archive ends in its middle."""
        return self.ending is not None and key == self._last_key

    def of_image(
        self, member: str, name: FileName, *, again: bool = False
    ) -> tuple[str | BadCaption | None, dict[str, Any]]:
        """Caption and metadata that lie beside an image, under its path without the ending or with it.

        again: an image of another ending has its path; then what is called after its whole name comes first.
        """
        whole = member, f"{name.stem}.{name.ending}"
        stems = dict.fromkeys((*whole, name.stem) if again else (name.stem, *whole))
        bad: BadCaption | None = None
        good: str | None = None
        for path in (_caption_path(stem, ending) for stem in stems for ending in ENDINGS[Role.CAPTION]):
            caption = self.captions.take(path)
            if isinstance(caption, bytes):
                caption = clean_caption(self._decoded(caption), limits=self.limits)
            if isinstance(caption, str):
                good = caption
                break
            bad = bad or caption
        metadata = next((raw for stem in stems if (raw := self.metadata.take(stem)) is not None), None)
        return good or bad, {} if metadata is None else self._document(metadata)

    def _document(self, raw: bytes) -> dict[str, Any]:
        """The fields of a sample's .json; of one that cannot be parsed those with captions."""
        if needs_guess(raw):
            raw = self._decoded(raw).encode("utf-8", "replace")
        try:
            document = parse_json(raw, self.notes.others)
        except ValueError:
            self.notes.others[METADATA_DAMAGED] += 1
            return self._caption_fields(raw)
        if isinstance(document, dict):
            return document
        return {WHOLE: document} if stated_captions(document) else {}

    def _caption_fields(self, raw: bytes) -> dict[str, Any]:
        return caption_fields(raw, self.options.columns.caption)

    def _decoded(self, raw: bytes) -> str:
        return self.notes.tally.text(self._decoder.decode(raw))

    def names_image(self, member: str, name: FileName) -> bool:
        """Whether something here is about this very file, and not about others that share its key."""
        own = self.captions.has(name.stem) or self.metadata.has(name.stem)
        if (own and name.stem != name.key) or any(table.names(member) for table in self.tables):
            return True
        return self.metadata.has(member) or any(
            self.captions.has(_caption_path(member, ending)) for ending in ENDINGS[Role.CAPTION]
        )

    def unused(self, explained: Collection[str], *, lacking: bool) -> Iterator[Rejection]:
        """Yield a rejection for every caption without an image, and for each table that has some.

        explained: the keys of the archive's images. lacking: some of them had no caption; then a .json
        without a caption is reported, too.
        """
        for path in self.captions.left():
            yield Rejection(
                sample_key(path), path, Reason.DUPLICATE_KEY, "more captions than images of a name"
            )
        for path in self.captions.unused():
            _, dot, ending = path.rpartition(".")
            member = path if dot and ending in ENDINGS[Role.CAPTION][1:] else f"{path}.txt"
            name = file_name(member, first_dot=self.first_dot)
            if self._is_of_image(name) and not self.cut_off(name.key):
                yield Rejection(sample_key(name.key), member, Reason.MISSING_IMAGE, _NO_IMAGE)
        alone: list[str] = []
        for path in self.metadata.unused():
            document = self._document(self.metadata.take(path) or b"")
            key = without_image_ending(path)
            own = self._is_of_image(file_name(f"{path}.json", first_dot=self.first_dot))
            lonely = own and not self.captions.has(path) and not self.cut_off(key)
            if lonely and captions_in_json(document, self.options.columns.caption):
                yield Rejection(sample_key(key), f"{path}.json", Reason.MISSING_IMAGE, _NO_IMAGE)
            elif lacking and lonely and sample_key(key) not in explained:
                alone.append(f"{path}.json")
        if alone:
            detail = f"{len(alone)} .json beside no image; of such, COCO's captions are read"
            yield Rejection(None, alone[0], Reason.PASSED_OVER, detail)
        for table in self.tables:
            yield from table.unused()

    def passed_over(self) -> Iterator[tuple[str, str]]:
        """Yield, for each kind of files that were not read, the first name, and how many they are and why."""
        for role, names in self._passed_over.items():
            yield names[0], f"{len(names)} {'files' if len(names) > 1 else 'file'} {_WHY_NOT[role]}"

    def _keep(self, member: Member, name: FileName) -> Iterator[Rejection]:
        if name.role in (Role.IMAGE, Role.SECOND_IMAGE):
            self._images.append(member.name)
        elif name.role is Role.ARCHIVE:
            detail = "a tar or zip file inside another is not opened"
            yield Rejection(None, member.name, Reason.NESTED_ARCHIVE, detail)
        elif name.role is Role.TABLE:
            yield from self._keep_table(member)
        elif name.role is Role.EMBEDDINGS:
            self.embeddings = self.embeddings or member.name
        elif name.role is Role.METADATA:
            yield from self._keep_json(member, name)
        elif name.role is Role.CAPTION:
            self._keep_caption(member, name)
        elif name.role is Role.IGNORED and not _begins_image(member):
            return
        elif name.role in _WHY_NOT:
            self._passed_over.setdefault(name.role, []).append(member.name)

    def _keep_json(self, member: Member, name: FileName) -> Iterator[Rejection]:
        if member.size > self.limits.max_table_bytes:
            detail = f"{member.size} bytes; the limit is {self.limits.max_table_bytes}"
            yield Rejection(None, member.name, Reason.BAD_TABLE, detail)
            return
        try:
            raw = member.read()
        except UnreadableMemberError as error:
            yield Rejection(None, member.name, Reason.UNREADABLE_MEMBER, str(error))
            return
        self._decoder.see(raw)
        if maybe_coco(raw):
            try:
                table = read_coco(member.name, self._counted(raw), self.notes.tally)
            except BadTableError as error:
                yield Rejection(None, member.name, Reason.BAD_TABLE, str(error))
            else:
                self.tables.append(table)
                yield from table.rejections
        elif self._is_of_image(name):
            if len(raw) > self.limits.max_metadata_bytes:
                # No metadata that large is kept, but the caption in it is not metadata.
                self.notes.others[METADATA_TOO_LARGE] += 1
                raw = json.dumps(self._caption_fields(self._utf8(raw))).encode()
            self.metadata.add(name.stem, self._counted(raw))
        else:
            # As with captions below; of what is one more field of a sample only captions are kept.
            fields = self._caption_fields(self._utf8(raw))
            if fields and (raw := json.dumps(fields).encode()) and self._has_room(len(raw)):
                self.metadata.add(name.stem, raw)

    def _utf8(self, raw: bytes) -> bytes:
        """A text in UTF-8; it is guessed alone, as it is too large to wait for the others."""
        return self.notes.tally.text(decode_text(raw)).encode("utf-8", "replace") if needs_guess(raw) else raw

    def _is_of_image(self, name: FileName) -> bool:
        """Whether a .json is of the sample itself, rather than one more field of a WebDataset's sample."""
        return name.key in (name.stem, without_image_ending(name.stem))

    def _keep_caption(self, member: Member, name: FileName) -> None:
        pieces = member.pieces()
        try:
            head = next(pieces, b"")
            if text_names_images(member.name, head) and member.size <= self.limits.max_table_bytes:
                self._possible_tables.append((member.name, name, self._counted(head + b"".join(pieces))))
                return
            too_long = member.size > self.limits.max_caption_bytes
            raw = head if too_long else head + b"".join(pieces)
        except UnreadableMemberError as error:
            self._add_caption(name, BadCaption(Reason.UNREADABLE_MEMBER, str(error)))
        else:
            self._add_caption(name, self._caption(raw, member.size))

    def _add_caption(self, name: FileName, caption: str | bytes | BadCaption) -> None:
        # Of `a.b.txt` nobody knows yet whether there is an `a.b.jpg`.
        size = 0 if isinstance(caption, BadCaption) else len(caption)
        if self._is_of_image(name) or self._has_room(size):
            self.captions.add(_caption_path(name.stem, name.ending), caption)

    def _settle_possible_tables(self) -> Iterator[Rejection]:
        if not self._possible_tables:
            return
        stems = {without_image_ending(image) for image in self._images}
        for member, name, raw in self._possible_tables:
            if stems.isdisjoint((name.stem, without_image_ending(name.stem))):
                yield from self._add_table(member, raw)
            else:
                self._add_caption(name, self._caption(raw, len(raw)))
        self._possible_tables.clear()

    def _has_room(self, size: int) -> bool:
        """Whether one more text under a longer ending may be kept."""
        self._bytes_of_fields += size
        return self._bytes_of_fields <= _MOST_FIELDS

    def _keep_table(self, member: Member) -> Iterator[Rejection]:
        pieces = member.pieces()
        try:
            head = next(pieces, b"")
        except UnreadableMemberError as error:
            yield Rejection(None, member.name, Reason.BAD_TABLE, str(error))
            return
        if not names_members(member.name, head):
            self._passed_over.setdefault(Role.OTHER_TABLE, []).append(member.name)
            return
        if member.size > self.limits.max_table_bytes:
            detail = f"{member.size} bytes; the limit is {self.limits.max_table_bytes}"
            yield Rejection(None, member.name, Reason.BAD_TABLE, detail)
            return
        try:
            raw = self._counted(head + b"".join(pieces))
        except UnreadableMemberError as error:
            yield Rejection(None, member.name, Reason.BAD_TABLE, str(error))
        else:
            yield from self._add_table(member.name, raw)

    def _add_table(self, name: str, raw: bytes) -> Iterator[Rejection]:
        try:
            table = read_image_folder(name, raw, self.options.columns, self.limits, self.notes)
        except BadTableError as error:
            yield Rejection(None, name, Reason.BAD_TABLE, str(error))
        else:
            self.tables.append(table)
            yield from table.rejections

    def _caption(self, raw: bytes, size: int) -> str | bytes | BadCaption:
        limit = self.limits.max_caption_bytes
        if size > limit:
            return BadCaption(Reason.CAPTION_TOO_LONG, f"{size} bytes; the limit is {limit}")
        self._counted(raw)
        if needs_guess(raw):
            self._decoder.see(raw)
            return raw
        return clean_caption(raw, limits=self.limits, tally=self.notes.tally)

    def _counted(self, text: bytes) -> bytes:
        self._bytes += len(text)
        if self._bytes > self.limits.max_text_bytes:
            raise ArchiveEndsError(
                Reason.TEXTS_TOO_LARGE, f"more than {self.limits.max_text_bytes} bytes of texts"
            )
        return text

    def _not_read(self) -> Iterator[Rejection]:
        if self._images or self._refused:
            for first, detail in self.passed_over():
                yield Rejection(None, first, Reason.PASSED_OVER, detail)


def _begins_image(member: Member) -> bool:
    """Whether a file is an image by its first bytes, whatever it is called."""
    try:
        head = next(member.pieces(), b"")
    except UnreadableMemberError:
        return False
    return head.startswith(_IMAGE_STARTS) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")


def _caption_path(stem: str, ending: str) -> str:
    """Where the caption of an ending is kept: `a.caption` beside `a.txt`, which stands at `a`."""
    return stem if ending == ENDINGS[Role.CAPTION][0] else f"{stem}.{ending}"


class _Siblings(Generic[Text]):
    """Texts by the path that they share with an image; in order where the archive has one path several times.

    The last of a path stays for what follows: two versions of an image may have one caption.
    """

    def __init__(self) -> None:
        self._texts: dict[str, Text] = {}
        self._again: dict[str, deque[Text]] = {}
        self._spellings: dict[str, str] = {}
        self._used: set[str] = set()

    def add(self, path: str, text: Text) -> None:
        """Keep a text."""
        if path in self._texts:
            self._again.setdefault(path, deque()).append(text)
        else:
            self._texts[path] = text
            if not path.isascii():
                self._spellings.setdefault(unicodedata.normalize("NFC", path), path)

    def has(self, path: str) -> bool:
        """Whether there is a text of this path, however it is spelt."""
        return self._spelt(path) in self._texts

    def take(self, path: str) -> Text | None:
        """The next text of a path, None without one."""
        path = self._spelt(path)
        if path not in self._texts:
            return None
        if path in self._again and path in self._used and self._again[path]:
            self._texts[path] = self._again[path].popleft()
        self._used.add(path)
        return self._texts[path]

    def unused(self) -> list[str]:
        """The paths of which nothing was taken."""
        return [path for path in self._texts if path not in self._used]

    def left(self) -> list[str]:
        """The paths that had more texts than images."""
        return [path for path, texts in self._again.items() if texts and path in self._used]

    def _spelt(self, path: str) -> str:
        if path in self._texts or path.isascii():
            return path
        return self._spellings.get(unicodedata.normalize("NFC", path), path)
