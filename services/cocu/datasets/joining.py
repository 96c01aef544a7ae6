"""Members of an archive → images with their captions, by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from cocu.datasets.caption_tables import (
    BadTableError,
    CaptionTable,
    maybe_coco,
    read_coco,
    read_image_folder,
)
from cocu.datasets.captions import BadCaption, clean_caption
from cocu.datasets.limits import Limits
from cocu.datasets.members import (
    ArchiveEndsError,
    Member,
    Members,
    Role,
    SampleName,
    UnreadableMemberError,
    sample_name,
)
from cocu.datasets.metadata import parse_metadata
from cocu.datasets.options import ReadOptions
from cocu.datasets.pairs import Pair, choose_captions, clean_captions
from cocu.datasets.rejections import Reason, Rejection


def join(
    open_members: Callable[[], Members], *, first_dot: bool, limits: Limits, options: ReadOptions
) -> Iterator[Pair | Rejection]:
    """Yield pairs in the order of the images, and rejections.

    open_members starts at the first member again at every call; it is called twice. At most one rejection
    per key and reason, and none for a sample that the end of a damaged archive cut in two: that is the
    tail's.
    """
    texts = _Texts(first_dot, limits, options)
    found = False
    for item in _chained(texts, open_members):
        found = True
        yield item
    if not found:
        yield _nothing_found(texts)


def _nothing_found(texts: _Texts) -> Rejection:
    if texts.embeddings:
        detail = f"{texts.embeddings} and no image; say with the option encoder which encoder made it"
        return Rejection(None, texts.embeddings, Reason.ENCODER_NOT_NAMED, detail)
    return Rejection(None, "", Reason.NO_SAMPLES, f"none of its {texts.members} members is an image")


def _chained(texts: _Texts, open_members: Callable[[], Members]) -> Iterator[Pair | Rejection]:
    yield from texts.read(open_members())
    yield from _Images(texts).read(open_members())
    if texts.ending is not None:
        yield texts.ending


class _Texts:
    """First pass: what is small is kept, until its image comes."""

    def __init__(self, first_dot: bool, limits: Limits, options: ReadOptions) -> None:
        self.first_dot = first_dot
        self.limits = limits
        self.options = options
        self.tables: list[CaptionTable] = []
        self.captions: dict[str, str | BadCaption] = {}
        self.metadata: dict[str, bytes] = {}
        self.repeated: dict[str, str] = {}
        self.members = 0
        self.last_key = ""
        self.embeddings = ""
        self.ending: Rejection | None = None
        self._bytes = 0

    def read(self, members: Members) -> Iterator[Rejection]:
        try:
            for member in members:
                self.members += 1
                if isinstance(member, Rejection):
                    yield member
                    continue
                named = sample_name(member.name, first_dot=self.first_dot)
                self.last_key = named.key or self.last_key
                yield from self._keep(member, named)
        except ArchiveEndsError as end:
            self.ending = Rejection(None, "", end.reason, end.detail)

    def cut_off(self, key: str) -> bool:
        """Whether a sample lacks something because the archive ends in its middle."""
        return self.ending is not None and key == self.last_key

    def _keep(self, member: Member, named: SampleName) -> Iterator[Rejection]:
        if named.role is Role.ARCHIVE:
            detail = "archives inside archives are not opened"
            yield Rejection(None, member.name, Reason.NESTED_ARCHIVE, detail)
        elif named.role is Role.TABLE:
            yield from self._keep_table(member)
        elif named.role is Role.EMBEDDINGS:
            self.embeddings = self.embeddings or member.name
        elif named.role is Role.METADATA:
            yield from self._keep_json(member, named.key)
        elif named.role is Role.CAPTION and named.key in self.captions:
            self.repeated.setdefault(named.key, member.name)
        elif named.role is Role.CAPTION:
            self.captions[named.key] = self._caption(member)

    def _keep_json(self, member: Member, key: str) -> Iterator[Rejection]:
        if member.size > self.limits.max_table_bytes:
            return
        try:
            raw = member.read()
            if maybe_coco(raw):
                self.tables.append(read_coco(member.name, self._counted(raw)))
            elif member.size <= self.limits.max_metadata_bytes:
                self.metadata.setdefault(key, self._counted(raw))
        except UnreadableMemberError:
            return  # the sample does without
        except BadTableError as error:
            yield Rejection(None, member.name, Reason.BAD_TABLE, str(error))

    def _keep_table(self, member: Member) -> Iterator[Rejection]:
        if member.size > self.limits.max_table_bytes:
            detail = f"{member.size} bytes; the limit is {self.limits.max_table_bytes}"
            yield Rejection(None, member.name, Reason.BAD_TABLE, detail)
            return
        try:
            raw = self._counted(member.read())
            self.tables.append(read_image_folder(member.name, raw, self.options.columns, self.limits))
        except (UnreadableMemberError, BadTableError) as error:
            yield Rejection(None, member.name, Reason.BAD_TABLE, str(error))

    def _caption(self, member: Member) -> str | BadCaption:
        limit = self.limits.max_caption_bytes
        if member.size > limit:
            return BadCaption(Reason.CAPTION_TOO_LONG, f"{member.size} bytes; the limit is {limit}")
        try:
            return clean_caption(self._counted(member.read()), limits=self.limits)
        except UnreadableMemberError as error:
            return BadCaption(Reason.UNREADABLE_MEMBER, str(error))

    def _counted(self, text: bytes) -> bytes:
        self._bytes += len(text)
        if self._bytes > self.limits.max_text_bytes:
            raise ArchiveEndsError(
                Reason.TEXTS_TOO_LARGE, f"more than {self.limits.max_text_bytes} bytes of texts"
            )
        return text


class _Images:
    """Second pass: one image at a time, with the texts of its key."""

    def __init__(self, texts: _Texts) -> None:
        self._texts = texts
        self._seen: set[str] = set()
        self._reported: set[str] = set()
        self._other: dict[str, Rejection] = {}

    def read(self, members: Members) -> Iterator[Pair | Rejection]:
        texts = self._texts
        try:
            # No further than the first pass came, whatever stopped it.
            for member in islice(members, texts.members):
                if isinstance(member, Member):
                    yield from self._member(member, sample_name(member.name, first_dot=texts.first_dot))
        except ArchiveEndsError as end:
            texts.ending = texts.ending or Rejection(None, "", end.reason, end.detail)
        yield from self._left_over()

    def _member(self, member: Member, named: SampleName) -> Iterator[Pair | Rejection]:
        key = named.key
        if named.role is Role.OTHER_IMAGE:
            self._other[key] = Rejection(
                key, member.name, Reason.UNSUPPORTED_IMAGE_FORMAT, "only JPEG, PNG and WebP are accepted"
            )
        elif named.role is Role.SECOND_IMAGE:
            detail = "a key ends at the first dot of the name, so this is not the image of its sample"
            self._other.setdefault(key, Rejection(key, member.name, Reason.MISSING_IMAGE, detail))
        elif named.role is Role.IMAGE and key not in self._seen:
            self._seen.add(key)
            yield from self._pair(member, key)
        elif named.role is Role.IMAGE:
            yield from self._repeated(key, member.name)

    def _pair(self, member: Member, key: str) -> Iterator[Pair | Rejection]:
        metadata = parse_metadata(self._texts.metadata.pop(key, b""))
        captions = self._captions(member.name, key, metadata)
        if isinstance(captions, BadCaption):
            if not (captions.reason is Reason.MISSING_CAPTION and self._texts.cut_off(key)):
                yield Rejection(key, member.name, captions.reason, captions.detail)
            return
        limit = self._texts.limits.max_image_bytes
        if member.size > limit:
            detail = f"{member.size} bytes; the limit is {limit}"
            yield Rejection(key, member.name, Reason.IMAGE_TOO_LARGE, detail)
            return
        try:
            image = member.read()
        except UnreadableMemberError as error:
            yield Rejection(key, member.name, Reason.UNREADABLE_MEMBER, str(error))
            return
        yield from self._chosen(Pair(key, member.name, image, "", metadata), captions)

    def _chosen(self, pair: Pair, captions: list[str]) -> Iterator[Pair | Rejection]:
        limit = self._texts.limits.max_captions
        if len(captions) > limit:
            detail = f"{len(captions)} captions; the first {limit} are used"
            yield Rejection(pair.key, pair.member, Reason.TOO_MANY_CAPTIONS, detail)
        for key, caption in choose_captions(pair.key, captions[:limit], self._texts.options.captions):
            if key != pair.key and key in self._seen:
                yield from self._repeated(key, pair.member)
            else:
                self._seen.add(key)
                yield replace(pair, key=key, caption=caption)

    def _captions(self, member: str, key: str, metadata: dict[str, Any]) -> list[str] | BadCaption:
        """What the sample's own .txt says if it is good, else a table, else its .json; else what is wrong.

        Adds what a table says beside the caption to the metadata.
        """
        texts = self._texts
        own = texts.captions.pop(key, None)
        candidates: list[list[str]] = []
        for table in texts.tables:
            stated = table.take(member)
            if stated is not None:
                candidates.append(stated.captions)
                metadata.update(stated.metadata)
        if isinstance(own, str):
            return [own]
        candidates += [
            [metadata[field]] for field in ("caption", "text") if isinstance(metadata.get(field), str)
        ]
        for raw in candidates:
            captions = clean_captions(raw, texts.limits)
            if isinstance(captions, list) or own is None:
                return captions
        return own or BadCaption(
            Reason.MISSING_CAPTION, "no .txt of the same name, no table and no .json has a caption for it"
        )

    def _repeated(self, key: str, member: str) -> Iterator[Rejection]:
        if key not in self._reported:
            self._reported.add(key)
            yield Rejection(key, member, Reason.DUPLICATE_KEY, "the earlier sample of this key is kept")

    def _left_over(self) -> Iterator[Rejection]:
        for key, member in self._texts.repeated.items():
            if key in self._seen:
                yield from self._repeated(key, member)
        for key, rejection in self._other.items():
            if key not in self._seen:
                self._seen.add(key)
                yield rejection
        for key in self._texts.captions:
            if key not in self._seen and not self._texts.cut_off(key):
                yield Rejection(key, f"{key}.txt", Reason.MISSING_IMAGE, "a caption without an image")
        for table in self._texts.tables:
            if table.unused:
                detail = (
                    f"{table.unused} of the {len(table.images)} images it captions are not in the archive"
                )
                yield Rejection(None, table.name, Reason.MISSING_IMAGE, detail)
