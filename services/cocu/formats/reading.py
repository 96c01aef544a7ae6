"""Any accepted file or folder → samples and rejections, streaming; nothing is ever extracted to disk.

A file is read twice. The first pass keeps its captions and metadata, which are small; the second reads its
images one by one. So the members of a sample may be anywhere in an archive (a tar made from a folder has no
order), and memory holds only the texts of one archive and a few images.
"""

from __future__ import annotations

import hashlib
import tempfile
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cocu.curation import segmentation
from cocu.errors import InvalidInputError
from cocu.formats.columns import Columns
from cocu.formats.embeddings import ReadyEmbeddings
from cocu.formats.folders import folder_members
from cocu.formats.grouping import join
from cocu.formats.http_fetch import FetchFailedError, FetchRefusedError
from cocu.formats.images import BadImage, readable_image, shrink_image
from cocu.formats.limits import DEFAULT_LIMITS, Limits
from cocu.formats.notes import FIRST_FRAME, KEYS_ALIKE, NOT_SEGMENTED, Notes
from cocu.formats.options import DEFAULT_OPTIONS, ReadOptions
from cocu.formats.readers import Item, detect_file_format, reader_of
from cocu.formats.records import EmbeddingText, ImageText, UrlText, content_key
from cocu.formats.rejections import REFUSED_BY, Reason, Rejection
from cocu.sources import redact

Fetch = Callable[[str], bytes]
"""Returns the bytes behind a URL, as `Fetcher.read`: raises FetchRefusedError or FetchFailedError."""

FOLDER, CLIP_RETRIEVAL = "folder", "clip-retrieval"
"""Formats that are not recognised by a file's first bytes."""


@dataclass(frozen=True)
class RawSample:
    """One image and its caption, checked: the image decodes within the limits, the caption is clean text.

    image: the bytes as uploaded, unchanged unless a short side was asked for; without its metadata where that
    keeps decoders from reading the image, or makes the file larger than the limit.
    extension: jpg, png or webp, by content.
    width, height: in pixels, as the image is seen (EXIF rotation applied).
    sha256: 32 bytes, of `image`.
    metadata: the sample's .json, {} without one.
    embedding: float16 [D], of unit norm, in place of the image where the file holds embeddings; then `image`
    is empty, width and height are 0, and sha256 is that of the embedding.
    animated: the image has several frames, of which the first is used.
    """

    key: str
    image: bytes
    caption: str
    extension: str
    width: int
    height: int
    sha256: bytes
    metadata: dict[str, Any] = field(default_factory=dict)
    embedding: NDArray[np.float16] | None = field(default=None, compare=False)
    animated: bool = field(default=False, compare=False)

    @property
    def content_key(self) -> str:
        """The key that it has where its own is of another sample."""
        return content_key(self.sha256, self.caption)


@dataclass(frozen=True)
class Reading:
    """An opened file or folder.

    format: as detected or as asked for. columns: of a table, which of its columns is what. notes: complete
    once the samples are read.
    """

    format: str
    columns: Columns
    notes: Notes
    _items: Iterator[Item]
    _options: ReadOptions
    _limits: Limits

    def samples(self, *, threads: int = 1, fetch: Fetch | None = None) -> Iterator[RawSample | Rejection]:
        """Yield samples and rejections, once; see `read_samples`."""

        def check(item: Item) -> RawSample | Rejection:
            if isinstance(item, EmbeddingText):
                return _known(item)
            if isinstance(item, UrlText):
                item = _fetched(item, fetch)
            return _checked(item, self._limits, self._options.short_side)

        segmented = segmentation.version() is not None
        keys = _Keys(self._limits)
        for item in map(keys.settle, _in_order(self._items, check, threads)):
            if isinstance(item, RawSample):
                doubts = {
                    NOT_SEGMENTED: not segmented and segmentation.is_unspaced(item.caption),
                    FIRST_FRAME: item.animated,
                    KEYS_ALIKE: keys.is_alike(item.key),
                }
                self.notes.others.update(code for code, applies in doubts.items() if applies)
            yield item


@contextmanager
def open_reading(
    source: Path | BinaryIO,
    *,
    options: ReadOptions = DEFAULT_OPTIONS,
    limits: Limits = DEFAULT_LIMITS,
    dimensions: int | None = None,
    scratch: Path | None = None,
) -> Iterator[Reading]:
    """Open a file (path or seekable binary file) or a folder and state what it is.

    dimensions: D of the encoder that the options name. scratch: where embeddings are unpacked meanwhile.
    Raises InvalidInputError when the format is none of the accepted, a table lacks the needed columns, or
    embeddings and captions do not belong together; of embeddings also while samples are read.
    """
    notes = Notes()
    with ExitStack() as stack:
        if options.encoder is not None:
            yield stack.enter_context(_open_ready(source, options, limits, dimensions, scratch))
            return
        if isinstance(source, Path) and source.is_dir():
            pairs = join(
                lambda: folder_members(source, limits, notes),
                first_dot=False,
                limits=limits,
                options=options,
                notes=notes,
            )
            yield Reading(FOLDER, Columns(), notes, pairs, options, limits)
            return
        file = stack.enter_context(_opened(source))
        format = options.format or detect_file_format(file, options.columns)
        columns, items = reader_of(format).open(file, limits=limits, options=options, notes=notes)
        yield Reading(format, columns, notes, items, options, limits)


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(source, Path):
        yield source
        return
    with source.open("rb") as file:
        yield file


@contextmanager
def _open_ready(
    source: Path | BinaryIO,
    options: ReadOptions,
    limits: Limits,
    dimensions: int | None,
    scratch: Path | None,
) -> Iterator[Reading]:
    """Embeddings in place of images, in an archive or a folder."""
    with ExitStack() as stack:
        size = None
        if isinstance(source, Path) and source.is_dir():
            members = folder_members(source, limits)
        else:
            file = stack.enter_context(_opened(source))
            container = detect_file_format(file, options.columns)
            open_members = reader_of(container).members
            if open_members is None:
                raise InvalidInputError(
                    f"this is {container}; embeddings come as a tar or zip of img_emb/*.npy with "
                    "metadata/*.parquet. Leave the option encoder out where the file holds images"
                )
            size = file.seek(0, 2)
            members = open_members(file, limits, Notes())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="embeddings-", dir=scratch))
        ready = ReadyEmbeddings.unpacked(
            members, Path(folder), size=size, dimensions=dimensions, options=options, limits=limits
        )
        yield Reading(CLIP_RETRIEVAL, ready.columns, Notes(), ready.items(), options, limits)


def read_samples(
    source: Path | BinaryIO,
    *,
    options: ReadOptions = DEFAULT_OPTIONS,
    limits: Limits = DEFAULT_LIMITS,
    threads: int = 1,
    fetch: Fetch | None = None,
) -> Iterator[RawSample | Rejection]:
    """Yield samples and rejections of a file (path or seekable binary file) or a folder.

    Samples come in the order of their images, whatever `threads` (which check images, and fetch those given
    by URL, in parallel). Their keys are unique: where one repeats, the later sample gets a key of its
    content, and a copy is rejected. In archives a caption is the sample's .txt (or .caption, .text and
    alike), or without a good one what a table of captions says (see `caption_tables`), or a field of its
    .json. An archive that is cut off, damaged or beyond a limit gives the samples before that point and one
    rejection without a key for the rest.

    Raises InvalidInputError as `open_reading` does; bad contents are rejections.
    """
    with open_reading(source, options=options, limits=limits) as reading:
        yield from reading.samples(threads=threads, fetch=fetch)


def _fetched(link: UrlText, fetch: Fetch | None) -> ImageText | Rejection:
    # Reports show it to everyone who may read them, so it must not contain signatures or tokens.
    member = redact(link.url)
    if fetch is None:
        return Rejection(link.key, member, Reason.FETCH_NOT_ASKED, "the image is given by URL alone")
    try:
        return ImageText(link.key, member, fetch(link.url), link.caption, link.metadata)
    except (FetchRefusedError, FetchFailedError) as error:
        row = asdict(link) if error.reason.can_pass else None
        if isinstance(error, FetchRefusedError) and error.policy is not None:
            row = {**asdict(link), REFUSED_BY: error.policy}
        return Rejection(link.key, member, Reason.FETCH_FAILED, f"{error.reason}: {error}", row)


_Checked = RawSample | Rejection


def _in_order(items: Iterable[Item], check: Callable[[Item], _Checked], threads: int) -> Iterator[_Checked]:
    """Map in parallel, in order, with at most a few items per thread in memory."""
    if threads <= 1:
        yield from map(check, items)
        return
    waiting: deque[Future[_Checked]] = deque()
    with ThreadPoolExecutor(threads, "check-images") as pool:
        for item in items:
            waiting.append(pool.submit(check, item))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Keys:
    """Gives different samples different keys, and rejects a sample that was there before."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._contents: dict[str, bytes] = {}
        self._folded: set[str] = set()

    def settle(self, item: _Checked) -> _Checked:
        """The sample; under a key of its content where its own is too long or of an earlier sample."""
        too_long = item.key is not None and self._too_long(item.key)
        if isinstance(item, Rejection):
            return replace(item, key=None, member=item.member or str(item.key)) if too_long else item
        content = bytes.fromhex(item.content_key)
        if not too_long and self._contents.setdefault(item.key, content) is content:
            return item
        if not too_long and self._contents[item.key] == content:
            return Rejection(item.key, "", Reason.DUPLICATE_KEY, "an earlier sample of this key is the same")
        if self._contents.setdefault(item.content_key, content) is not content:
            return Rejection(item.key, "", Reason.DUPLICATE_KEY, "an earlier sample is the same")
        return replace(item, key=item.content_key)

    def is_alike(self, key: str) -> bool:
        """Whether an earlier sample's key differs from this one in case or Unicode form alone.

        Both are kept. But a folder of macOS or Windows, into which somebody unpacks them, holds only one.
        """
        folded = unicodedata.normalize("NFC", key).casefold()
        if folded == key:
            return key in self._folded
        alike = folded in self._folded or folded in self._contents
        self._folded.add(folded)
        return alike

    def _too_long(self, key: str) -> bool:
        longest = self._limits.max_key_bytes
        return len(key) * 4 > longest and len(key.encode("utf-8", "surrogatepass")) > longest


def _known(item: EmbeddingText) -> RawSample:
    return RawSample(
        key=item.key,
        image=b"",
        caption=item.caption,
        extension="",
        width=0,
        height=0,
        sha256=hashlib.sha256(item.embedding.tobytes()).digest(),
        metadata=item.metadata,
        embedding=item.embedding,
    )


def _checked(item: ImageText | Rejection, limits: Limits, short_side: int | None) -> RawSample | Rejection:
    if isinstance(item, Rejection):
        return item
    readable = readable_image(item.image, limits=limits)
    if isinstance(readable, BadImage):
        return Rejection(item.key, item.member, readable.reason, readable.detail)
    image, facts = readable
    animated = facts.animated
    if short_side is not None and min(facts.width, facts.height) > short_side:
        image, facts = shrink_image(image, short_side=short_side)
    return RawSample(
        key=item.key,
        image=image,
        caption=item.caption,
        extension=facts.extension,
        width=facts.width,
        height=facts.height,
        sha256=hashlib.sha256(image).digest(),
        metadata=item.metadata,
        animated=animated,
    )
