"""Members of an archive → images with their captions, by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from cocu.formats.archive import ArchiveEndsError, Member, Members, UnreadableMemberError
from cocu.formats.captions import BadCaption
from cocu.formats.coco import captions_in_json
from cocu.formats.image_metadata import picture_alone
from cocu.formats.limits import Limits
from cocu.formats.notes import SEVERAL_TABLES, Notes
from cocu.formats.options import ReadOptions
from cocu.formats.records import ImageText, choose_captions, clean_captions
from cocu.formats.rejections import Reason, Rejection, printable
from cocu.formats.texts import Texts
from cocu.sample_names import FileName, Role, file_name, sample_key

_NO_CAPTION = "no .txt of the same name, no table and no .json has a caption for it"


def _no_caption(metadata: Mapping[str, Any]) -> BadCaption:
    fields = ", ".join(repr(printable(name, 40)) for name in list(metadata)[:8])
    hint = f"; what is known of it is {fields}: name one of these as caption_column" if fields else ""
    return BadCaption(Reason.MISSING_CAPTION, _NO_CAPTION + hint)


def join(
    open_members: Callable[[], Members],
    *,
    first_dot: bool,
    limits: Limits,
    options: ReadOptions,
    notes: Notes,
) -> Iterator[ImageText | Rejection]:
    """Yield pairs in the order of the images, and rejections.

    open_members starts at the first member again at every call; it is called twice. Where an archive has a
    path several times, its images and captions belong together in their order; so keys may repeat. At most
    one rejection per key and reason, and none for a sample that the end of a damaged archive cut in two: that
    is the tail's.
    """
    texts = Texts(first_dot=first_dot, limits=limits, options=options, notes=notes)
    empty = True
    for item in _chained(texts, open_members):
        empty = False
        yield item
    if empty:
        yield _nothing_found(texts)


def _nothing_found(texts: Texts) -> Rejection:
    if texts.embeddings:
        detail = f"{texts.embeddings} and no image; say with the option encoder which encoder made it"
        return Rejection(None, texts.embeddings, Reason.ENCODER_NOT_NAMED, detail)
    passed_over = "".join(f"; {detail}, such as {first}" for first, detail in texts.passed_over())
    detail = f"none of its {texts.members} members is an image{passed_over}"
    return Rejection(None, "", Reason.NO_SAMPLES, detail)


def _chained(texts: Texts, open_members: Callable[[], Members]) -> Iterator[ImageText | Rejection]:
    yield from texts.read(open_members())
    yield from _Images(texts).read(open_members())
    if texts.ending is not None:
        yield texts.ending


class _Images:
    """Second pass: one image at a time, with the texts of its key."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._seen: dict[str, str] = {}
        self._reported: set[str] = set()
        self._other: dict[str, Rejection] = {}
        self._lacking = False

    def read(self, members: Members) -> Iterator[ImageText | Rejection]:
        texts = self._texts
        try:
            # No further than the first pass came, whatever stopped it.
            for member in islice(members, texts.members):
                if isinstance(member, Member):
                    yield from self._member(member, file_name(member.name, first_dot=texts.first_dot))
        except ArchiveEndsError as end:
            texts.ending = texts.ending or Rejection(None, "", end.reason, end.detail)
        yield from self._left_over()

    def _member(self, member: Member, name: FileName) -> Iterator[ImageText | Rejection]:
        key = name.key
        if name.role is Role.OTHER_IMAGE:
            detail = "only JPEG, PNG and WebP are accepted"
            self._other[key] = Rejection(
                sample_key(key), member.name, Reason.UNSUPPORTED_IMAGE_FORMAT, detail
            )
        elif name.role is Role.IMAGE and self._seen.setdefault(key, member.name) == member.name:
            yield from self._pair(member, name, key)
        elif name.role in (Role.IMAGE, Role.SECOND_IMAGE) and self._texts.names_image(member.name, name):
            yield from self._pair(member, name, name.stem)
        elif name.role is Role.SECOND_IMAGE:
            detail = "a key ends at the first dot of the name, so this is not the image of its sample"
            self._other.setdefault(key, Rejection(key, member.name, Reason.MISSING_IMAGE, detail))
        elif name.role is Role.IMAGE:
            yield from self._repeated(key, member.name)

    def _pair(self, member: Member, name: FileName, path: str) -> Iterator[ImageText | Rejection]:
        key = sample_key(path)
        captions, metadata = self._captions(member.name, name)
        if isinstance(captions, BadCaption):
            self._lacking = self._lacking or captions.reason is Reason.MISSING_CAPTION
            if not (captions.reason is Reason.MISSING_CAPTION and self._texts.cut_off(name.key)):
                yield Rejection(key, member.name, captions.reason, captions.detail)
            return
        limit = self._texts.limits.max_image_bytes
        try:
            # What makes a file that large may be metadata, which is not held then.
            large = member.size > limit
            image = picture_alone(member.pieces(), most_bytes=limit) if large else member.read()
        except UnreadableMemberError as error:
            yield Rejection(key, member.name, Reason.UNREADABLE_MEMBER, str(error))
            return
        if image is None:
            detail = f"{member.size} bytes; the limit is {limit}"
            yield Rejection(key, member.name, Reason.IMAGE_TOO_LARGE, detail)
            return
        yield from self._chosen(ImageText(key, member.name, image, "", metadata), captions)

    def _chosen(self, pair: ImageText, captions: list[str]) -> Iterator[ImageText | Rejection]:
        limit = self._texts.limits.max_captions
        if len(captions) > limit:
            detail = f"{len(captions)} captions; the first {limit} are used"
            yield Rejection(pair.key, pair.member, Reason.TOO_MANY_CAPTIONS, detail)
        for key, caption in choose_captions(pair.key, captions[:limit], self._texts.options.captions):
            yield replace(pair, key=key, caption=caption)

    def _captions(self, member: str, name: FileName) -> tuple[list[str] | BadCaption, dict[str, Any]]:
        """The captions of an image, or what is wrong; and its metadata.

        In this order, the first that are good: the column asked for of its .json, its own .txt or alike, what
        tables say, its .json. What a table says beside the caption is added to the metadata.
        """
        texts = self._texts
        again = self._seen.get(name.key, member) != member
        own, metadata = texts.of_image(member, name, again=again)
        caption_column = texts.options.columns.caption
        stated = [row for table in texts.tables if (row := table.take(member)) is not None]
        for row in stated:
            metadata.update(row.metadata)
        # Two tables may each have some of an image's captions, or both the same.
        from_tables = list(dict.fromkeys(caption for row in stated for caption in row.captions))
        if len(stated) == 1:
            from_tables = stated[0].captions
        elif any(row.captions != from_tables for row in stated):
            texts.notes.others[SEVERAL_TABLES] += 1
        candidates = [from_tables] if from_tables else []
        if caption_column is not None and caption_column in metadata:
            candidates = (
                captions_in_json({caption_column: metadata[caption_column]}, caption_column) + candidates
            )
        else:
            if caption_column is not None and not any(row.column == caption_column for row in stated):
                texts.notes.others[f"caption_column {printable(caption_column, 60)!r} is not there"] += 1
            if isinstance(own, str):
                return [own], metadata
        candidates += captions_in_json(metadata)
        bad = own
        for raw in candidates:
            captions = clean_captions(raw, texts.limits, texts.notes.tally)
            if isinstance(captions, list):
                return captions, metadata
            bad = bad or captions
        return ([bad] if isinstance(bad, str) else bad or _no_caption(metadata)), metadata

    def _repeated(self, key: str, member: str) -> Iterator[Rejection]:
        if key not in self._reported:
            self._reported.add(key)
            detail = f"{self._seen[key]} is the image of this key"
            yield Rejection(sample_key(key), member, Reason.DUPLICATE_KEY, detail)

    def _left_over(self) -> Iterator[Rejection]:
        for key, rejection in self._other.items():
            if key not in self._seen:
                self._seen[key] = rejection.member
                yield rejection
        explained = {sample_key(key) for key in self._seen}
        for rejection in self._texts.unused(explained, lacking=self._lacking):
            known = self._reported if rejection.reason is Reason.DUPLICATE_KEY else explained
            if rejection.key not in known:
                yield rejection
