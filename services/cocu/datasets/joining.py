"""Members of an archive → images with their captions, by key."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

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
from cocu.datasets.rejections import Reason, Rejection

_DEEPEST_METADATA = 32


@dataclass(frozen=True)
class Pair:
    """An image that nobody has looked at yet, its clean caption and its metadata."""

    key: str
    member: str
    image: bytes
    caption: str
    metadata: dict[str, Any]


def join(
    open_members: Callable[[], Members], *, first_dot: bool, limits: Limits
) -> Iterator[Pair | Rejection]:
    """Yield pairs in the order of the images, and rejections.

    open_members starts at the first member again at every call; it is called twice. At most one rejection
    per key and reason, and none for a sample that the end of a damaged archive cut in two: that is the
    tail's.
    """
    texts = _Texts(first_dot, limits)
    found = False
    for item in _chained(texts, open_members):
        found = True
        yield item
    if not found:
        yield Rejection(None, "", Reason.NO_SAMPLES, f"none of its {texts.members} members is an image")


def _chained(texts: _Texts, open_members: Callable[[], Members]) -> Iterator[Pair | Rejection]:
    yield from texts.read(open_members())
    yield from _Images(texts).read(open_members())
    if texts.ending is not None:
        yield texts.ending


class _Texts:
    """First pass: what is small is kept, until its image comes."""

    def __init__(self, first_dot: bool, limits: Limits) -> None:
        self.first_dot = first_dot
        self.limits = limits
        self.captions: dict[str, str | BadCaption] = {}
        self.metadata: dict[str, bytes] = {}
        self.repeated: dict[str, str] = {}
        self.members = 0
        self.last_key = ""
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
                if named.role is Role.ARCHIVE:
                    yield Rejection(
                        None, member.name, Reason.NESTED_ARCHIVE, "archives inside archives are not opened"
                    )
                self._keep(member, named)
        except ArchiveEndsError as end:
            self.ending = Rejection(None, "", end.reason, end.detail)

    def cut_off(self, key: str) -> bool:
        """Whether a sample lacks something because the archive ends in its middle."""
        return self.ending is not None and key == self.last_key

    def _keep(self, member: Member, named: SampleName) -> None:
        if named.role is Role.CAPTION:
            if named.key in self.captions:
                self.repeated.setdefault(named.key, member.name)
            else:
                self.captions[named.key] = self._caption(member)
        elif named.role is Role.METADATA and member.size <= self.limits.max_metadata_bytes:
            try:
                self.metadata.setdefault(named.key, self._counted(member.read()))
            except UnreadableMemberError:
                return  # the sample does without

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
        metadata = _parsed(self._texts.metadata.pop(key, b""))
        caption = self._caption(key, metadata)
        if isinstance(caption, BadCaption):
            if not (caption.reason is Reason.MISSING_CAPTION and self._texts.cut_off(key)):
                yield Rejection(key, member.name, caption.reason, caption.detail)
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
        yield Pair(key, member.name, image, caption, metadata)

    def _caption(self, key: str, metadata: dict[str, Any]) -> str | BadCaption:
        """The sample's own .txt if it is good, else what its .json says, else what is wrong."""
        caption = self._texts.captions.pop(key, None)
        if isinstance(caption, str):
            return caption
        for field in ("caption", "text"):
            if isinstance(metadata.get(field), str):
                stated = clean_caption(metadata[field], limits=self._texts.limits)
                if isinstance(stated, str) or caption is None:
                    return stated
        return caption or BadCaption(
            Reason.MISSING_CAPTION, "no .txt of the same name, and no caption in a .json"
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


def _parsed(raw: bytes) -> dict[str, Any]:
    """A JSON object of moderate depth; {} for anything else. Numbers that JSON does not have become null."""
    try:
        value = json.loads(raw, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and _is_shallow(value, _DEEPEST_METADATA) else {}


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _is_shallow(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in value)
