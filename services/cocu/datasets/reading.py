"""Any accepted file or folder → samples and rejections, streaming; nothing is ever extracted to disk.

A file is read twice: first its captions and metadata, which are small and kept, then its images one by
one. So the members of a sample may lie anywhere in an archive (a tar made of a folder is in no order at
all), in plain and in compressed ones, while memory holds the texts of one archive and a few images.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cocu.datasets.columns import Columns
from cocu.datasets.embeddings import ReadyEmbeddings
from cocu.datasets.fetching import FetchFailedError, FetchRefusedError
from cocu.datasets.folders import folder_members
from cocu.datasets.formats import HEAD_BYTES, Format, detect_format
from cocu.datasets.images import BadImage, inspect_image, shrink_image
from cocu.datasets.joining import join
from cocu.datasets.limits import DEFAULT_LIMITS, Limits
from cocu.datasets.members import Members
from cocu.datasets.options import DEFAULT_OPTIONS, ReadOptions
from cocu.datasets.pairs import Link, Pair, Vector
from cocu.datasets.parquet import open_parquet, parquet_items
from cocu.datasets.rejections import Reason, Rejection
from cocu.datasets.separated import open_separated, separated_links
from cocu.datasets.tars import Compression, tar_members
from cocu.datasets.zips import zip_members
from cocu.errors import InvalidInputError

Fetch = Callable[[str], bytes]
"""The bytes behind a URL, as `Fetcher.read`: raises FetchRefusedError or FetchFailedError."""

_COMPRESSIONS = {
    Format.TAR: Compression.NONE,
    Format.TAR_GZIP: Compression.GZIP,
    Format.TAR_ZSTANDARD: Compression.ZSTANDARD,
}


@dataclass(frozen=True)
class RawSample:
    """One image and its caption, checked: the image decodes within the limits, the caption is clean text.

    image: the bytes as uploaded, unchanged unless a short side was asked for. extension: jpg, png or webp,
    by content.
    width, height: in pixels, as the picture is seen (EXIF rotation applied).
    sha256: 32 bytes, of `image`.
    metadata: the sample's .json, {} without one.
    embedding: float16 [D], of unit norm, in place of the image where the file holds embeddings; then `image`
    is empty, width and height are 0, and sha256 is that of the embedding.
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


@dataclass(frozen=True)
class Reading:
    """An opened file or folder.

    format: as detected or as asked for. columns: of a table, which of its columns is what.
    """

    format: Format
    columns: Columns
    _found: Iterator[_Found]
    _options: ReadOptions
    _limits: Limits

    def samples(self, *, threads: int = 1, fetch: Fetch | None = None) -> Iterator[RawSample | Rejection]:
        """Yield samples and rejections, once; see `read_samples`."""

        def check(item: _Found) -> RawSample | Rejection:
            item = _of_short_key(item, self._limits)
            if isinstance(item, Vector):
                return _known(item)
            if isinstance(item, Link):
                item = _fetched(item, fetch)
            return _checked(item, self._limits, self._options.short_side)

        yield from _in_order(self._found, check, threads)


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
    with ExitStack() as stack:
        if options.encoder is not None:
            yield stack.enter_context(_open_ready(source, options, limits, dimensions, scratch))
            return
        if isinstance(source, Path) and source.is_dir():
            joined = _joined(lambda: folder_members(source, limits), Format.FOLDER, limits, options)
            yield Reading(Format.FOLDER, Columns(), joined, options, limits)
            return
        file = stack.enter_context(_opened(source))
        format = options.format or _detected(file, options)
        found: Iterator[_Found]
        if format is Format.PARQUET:
            table = open_parquet(file, options)
            found, columns = parquet_items(table, file.seek(0, 2), limits, options), table.columns
        elif format in (Format.CSV, Format.TSV):
            separated = open_separated(file, format, options)
            found, columns = separated_links(separated, limits, options), separated.columns
        else:
            found, columns = _joined(_opener(file, format, limits), format, limits, options), Columns()
        yield Reading(format, columns, found, options, limits)


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(source, Path):
        yield source
        return
    with source.open("rb") as file:
        yield file


def _detected(file: BinaryIO, options: ReadOptions) -> Format:
    file.seek(0)
    name = PurePath(str(getattr(file, "name", ""))).name
    return detect_format(file.read(HEAD_BYTES), name, options.columns)


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
            container = _detected(file, options)
            if container is not Format.ZIP and container not in _COMPRESSIONS:
                raise InvalidInputError(
                    f"this is {container}; embeddings come as a tar or zip of img_emb/*.npy with "
                    "metadata/*.parquet. Leave the option encoder out where the file holds images"
                )
            size = file.seek(0, 2)
            members = _opener(file, container, limits)()
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="embeddings-", dir=scratch))
        ready = ReadyEmbeddings.unpacked(
            members, Path(folder), size=size, dimensions=dimensions, options=options, limits=limits
        )
        yield Reading(Format.CLIP_RETRIEVAL, ready.columns, ready.items(), options, limits)


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
    by URL, in parallel). Of several images of an archive with one key the first counts; rows of a
    table come as they are. In archives a caption is the
    sample's .txt, or without a good one what a table of captions says (see `caption_tables`), or the
    `caption` or `text` of its .json. An archive that is cut off, damaged or beyond a limit gives the samples
    before that point and one rejection without a key for the rest.

    Raises InvalidInputError as `open_reading` does; bad contents are rejections.
    """
    with open_reading(source, options=options, limits=limits) as reading:
        yield from reading.samples(threads=threads, fetch=fetch)


def _joined(
    opener: Callable[[], Members], format: Format, limits: Limits, options: ReadOptions
) -> Iterator[Pair | Rejection]:
    return join(opener, first_dot=format in _COMPRESSIONS, limits=limits, options=options)


def _opener(file: BinaryIO, format: Format, limits: Limits) -> Callable[[], Members]:
    if format is Format.ZIP:
        return lambda: zip_members(file, limits)
    return lambda: tar_members(file, limits, compression=_COMPRESSIONS[format])


def _fetched(link: Link, fetch: Fetch | None) -> Pair | Rejection:
    if fetch is None:
        return Rejection(link.key, link.url, Reason.FETCH_NOT_ASKED, "the image is given by URL alone")
    try:
        return Pair(link.key, link.url, fetch(link.url), link.caption, link.metadata)
    except (FetchRefusedError, FetchFailedError) as error:
        row = asdict(link) if error.reason.can_pass else None
        return Rejection(link.key, link.url, Reason.FETCH_FAILED, f"{error.reason}: {error}", row)


_Found = Pair | Link | Vector | Rejection
_Item = RawSample | Rejection


def _in_order(items: Iterable[_Found], check: Callable[[_Found], _Item], threads: int) -> Iterator[_Item]:
    """Map in parallel, in order, with at most a few items per thread in memory."""
    if threads <= 1:
        yield from map(check, items)
        return
    waiting: deque[Future[_Item]] = deque()
    with ThreadPoolExecutor(threads, "check-images") as pool:
        for item in items:
            waiting.append(pool.submit(check, item))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _known(item: Vector) -> RawSample:
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


def _of_short_key(item: _Found, limits: Limits) -> _Found:
    size = 0 if item.key is None else len(item.key.encode("utf-8", "surrogatepass"))
    if isinstance(item, Rejection) or size <= limits.max_key_bytes:
        return item
    detail = f"a key of {size} bytes; the limit is {limits.max_key_bytes}"
    return Rejection(None, item.key, Reason.KEY_TOO_LONG, detail)


def _checked(item: Pair | Rejection, limits: Limits, short_side: int | None) -> RawSample | Rejection:
    if isinstance(item, Rejection):
        return item
    facts = inspect_image(item.image, limits=limits)
    if isinstance(facts, BadImage):
        return Rejection(item.key, item.member, facts.reason, facts.detail)
    image = item.image
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
    )
