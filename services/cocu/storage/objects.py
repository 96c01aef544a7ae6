"""Objects: files under names, written whole or not at all.

Every write goes to a temporary file first, which counts and hashes the bytes, and becomes the object in one
step: for file:// by fsync and rename, for other stores by one put or one completed multipart upload. So no
reader ever sees half an object, whatever is killed when; what a crash leaves behind is a temporary file that
nothing lists and that an `open` deletes once it is a day old. On file:// an object is on disk, and its name
too, when the call returns: it survives a power cut, not only kill -9.
"""

from __future__ import annotations

import asyncio
import builtins
import errno
import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore
from obstore.store import ObjectStore as Backend

from cocu.errors import IntegrityError, InvalidInputError, LimitExceededError, NotFoundError, UnavailableError
from cocu.storage import durable, remote
from cocu.storage.blocks import write_blocks
from cocu.storage.copies import DEFAULT_BYTES, LocalCopies
from cocu.storage.ranges import RangeReads, at_once, read_file_into, read_object_into

_INCOMING = ".incoming"
_ABANDONED_AFTER_SECONDS = 24 * 3600
_COPY_BYTES = 1 << 20
_SEGMENT = re.compile(r"[A-Za-z0-9_=@+-][A-Za-z0-9_.=@+-]*")
_LONGEST_PATH = 1024


@dataclass(frozen=True)
class StoredObject:
    """What was written: path, size in bytes, SHA-256 of the bytes in hex."""

    path: str
    size: int
    sha256: str


class ObjectStore:
    """Objects of one store. Safe to use from many threads and processes.

    Paths are segments of letters, digits and `_.=@+-`, joined by `/`; no segment starts with a dot. Anything
    else raises InvalidInputError, so that no name a client chose reaches outside. A store that does not
    answer, or a full disk, raises UnavailableError.
    """

    def __init__(self, backend: Backend, *, scratch: Path, root: Path | None) -> None:
        self._backend = backend
        self._scratch = scratch
        self._root = root
        self._copies: LocalCopies | None = None

    @classmethod
    def open(cls, url: str, *, cache: Path | None = None, cache_bytes: int = DEFAULT_BYTES) -> ObjectStore:
        """Open file:///folder or a plain path (created if need be), memory:// (for tests) or s3://bucket/prefix.

        cache: the folder of temporary files and of local copies, for stores that are not files; a new
        temporary folder without one. cache_bytes: of those copies together. s3:// takes its credentials and
        endpoint from the usual AWS_* variables.
        """
        parts = urlsplit(url)
        if parts.scheme in ("", "file"):
            if parts.netloc not in ("", "localhost"):
                raise InvalidInputError(f"objects URL {url!r} names a host; write file:///folder")
            root = Path(unquote(parts.path) if parts.scheme else url).expanduser().absolute()
            with _translated(url):
                scratch = root / _INCOMING
                scratch.mkdir(parents=True, exist_ok=True)
                durable.delete_abandoned(scratch, after_seconds=_ABANDONED_AFTER_SECONDS)
                return cls(LocalStore(root), scratch=scratch, root=root)
        scratch = cache if cache is not None else Path(tempfile.mkdtemp(prefix="cocu-objects-"))
        with _translated(url):
            scratch.mkdir(parents=True, exist_ok=True)
            durable.delete_abandoned(scratch, after_seconds=_ABANDONED_AFTER_SECONDS)
            backend = MemoryStore() if parts.scheme == "memory" else remote.open_remote(url)
            store = cls(backend, scratch=scratch, root=None)
            store._copies = LocalCopies(scratch / "copies", max_bytes=cache_bytes)
        return store

    def put(self, path: str, data: bytes) -> StoredObject:
        """Write bytes atomically, replacing what was there."""
        return self.put_chunks(path, (data,))

    def put_file(self, path: str, file: Path | BinaryIO, *, max_bytes: int | None = None) -> StoredObject:
        """Write a copy of a file, from its current position if it is open."""
        if isinstance(file, Path):
            with file.open("rb") as opened:
                return self.put_file(path, opened, max_bytes=max_bytes)
        return self.put_chunks(path, iter(lambda: file.read(_COPY_BYTES), b""), max_bytes=max_bytes)

    def put_chunks(
        self, path: str, chunks: Iterable[bytes], *, max_bytes: int | None = None, sha256: str | None = None
    ) -> StoredObject:
        """Write a stream atomically.

        Raises, leaving what was there: LimitExceededError beyond max_bytes; InvalidInputError when `sha256`
        (hex) is not that of the stream; whatever `chunks` raises.
        """
        incoming = _Incoming(self, path, max_bytes=max_bytes, sha256=sha256)
        with incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.commit()

    async def put_stream(
        self,
        path: str,
        chunks: AsyncIterable[bytes],
        *,
        max_bytes: int | None = None,
        sha256: str | None = None,
    ) -> StoredObject:
        """As `put_chunks` for an asynchronous stream, with the disk's work on another thread."""
        incoming = _Incoming(self, path, max_bytes=max_bytes, sha256=sha256)
        with incoming:
            await write_blocks(chunks, incoming.write)
            return await asyncio.to_thread(incoming.commit)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """A new seekable file, open for writing and reading, that becomes the object when the block ends.

        An exception in the block leaves what was there. For file:// nothing is copied.
        """
        _check_path(path)
        name = self._new_scratch_file()
        try:
            with _translated(path):
                file = name.open("w+b")
            with file:
                with _full_disk_translated(path):
                    yield file
                with _translated(path):
                    file.flush()
                    os.fsync(file.fileno())
            with _translated(path):
                self._commit(name, path)
        finally:
            name.unlink(missing_ok=True)

    @property
    def scratch(self) -> Path:
        """A folder for files that are to become objects; for file:// on the same disk as these."""
        return self._scratch

    def adopt(self, path: str, file: Path, *, known: StoredObject | None = None) -> StoredObject:
        """Make a complete file, written under `scratch`, the object; the file is gone afterwards.

        For file:// nothing is copied. `known` is what its writer found while writing: where it has the size
        of the file, this is not read again to be hashed. Raises NotFoundError without the file.
        """
        _check_path(path)
        with _translated(path):
            with file.open("rb") as content:
                size = os.fstat(content.fileno()).st_size
                if known is not None and known.size == size:
                    digest = known.sha256
                else:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                os.fsync(content.fileno())
            self._commit(file, path)
            file.unlink(missing_ok=True)
        return StoredObject(path, size, digest)

    def get(self, path: str) -> bytes:
        """The whole object. Raises NotFoundError."""
        _check_path(path)
        with _translated(path):
            return bytes(self._backend.get(path).bytes())

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`. Raises NotFoundError, and IntegrityError when the object is shorter."""
        _check_path(path)
        if offset < 0 or size < 0:
            raise ValueError(f"offset and size must not be negative, not {offset} and {size}")
        if size == 0:
            self.size(path)
            return b""
        with _translated(path):
            try:
                data = bytes(self._backend.get_range(path, start=offset, length=size))
            except BaseError:
                if self.size(path) >= offset + size:
                    raise
                data = b""
        if len(data) != size:
            raise IntegrityError(f"object {path} ends before byte {offset + size}, which should be in it")
        return data

    def read_into(
        self, path: str, ranges: Sequence[tuple[int, memoryview]], *, size: int | None = None
    ) -> None:
        """Fill each view with the bytes from its offset on, for whoever reuses memory.

        Fastest by ascending offset; other stores than files are asked once for ranges that lie close
        together. size: asked for without it. Raises NotFoundError, IntegrityError when the object is shorter.
        """
        _check_path(path)
        if any(offset < 0 or not view.nbytes for offset, view in ranges):
            raise ValueError("offsets must not be negative, and views must not be empty")
        # Some versions of the store abort, not fail, when a range begins behind the end.
        known = self.size(path) if size is None else size
        if known < max((offset + view.nbytes for offset, view in ranges), default=0):
            raise IntegrityError(f"object {path} ends before bytes that should be in it")
        with _translated(path):
            if self._root is not None:
                read_file_into(self._root / path, ranges)
            else:
                read_object_into(self._backend, path, ranges)

    def read_all_into(self, reads: Sequence[RangeReads]) -> None:
        """The same of several objects; where each is a round trip, at the same time."""
        threads = self._root is None and len(reads) > 1
        at_once(lambda one: self.read_into(one.path, one.ranges, size=one.size), reads, threads=threads)

    def chunks(self, path: str, *, size: int = _COPY_BYTES) -> Iterator[bytes]:
        """The object in pieces of about `size` bytes. Raises NotFoundError before the first."""
        _check_path(path)
        with _translated(path):
            if self._root is None:
                return self._pieces(path, remote.pieces(self._backend, path))
            stream = self._backend.get(path).stream(min_chunk_size=size)
        return self._pieces(path, iter(stream))

    def exists(self, path: str) -> bool:
        """Whether the object is there."""
        try:
            self.size(path)
        except NotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        """Bytes of the object. Raises NotFoundError."""
        _check_path(path)
        with _translated(path):
            return int(self._backend.head(path)["size"])

    def list(self, prefix: str = "", *, older_than: float = 0.0) -> builtins.list[str]:
        """Paths under a folder ("a/b" is a/b/…, not a/bc; "" is all), not written for so long; sorted."""
        if prefix:
            prefix = prefix.rstrip("/")
            _check_path(prefix)
        with _translated(prefix):
            paths = remote.list_paths(self._backend, prefix or None, older_than=older_than)
        return sorted(path for path in paths if not path.startswith(_INCOMING + "/") and path != prefix)

    def delete(self, path: str) -> None:
        """Delete if it is there."""
        _check_path(path)
        with _translated(path):
            try:
                self._backend.delete(path)
            except FileNotFoundError:
                return

    def delete_prefix(self, prefix: str) -> int:
        """Delete everything under a folder-like prefix; the number of objects found there."""
        paths = self.list(prefix)
        if self._root is None:
            with _translated(prefix):
                remote.delete_all(self._backend, paths)
            return len(paths)
        for path in paths:
            self.delete(path)
        if prefix:
            durable.remove_empty_folders(self._root / prefix)
        return len(paths)

    def signed_url(self, path: str, *, seconds: float) -> str | None:
        """An address from which anybody may read the object so long; None where the store gives none."""
        _check_path(path)
        return remote.signed_url(self._backend, path, seconds=seconds)

    def local_path(self, path: str) -> Path:
        """A local file with the object's bytes, to be mapped into memory and not to be changed.

        For file:// the object itself; for other stores a copy, fetched once per version of the object.
        Raises NotFoundError.
        """
        _check_path(path)
        if self._root is not None:
            local = self._root / path
            if not local.is_file():
                raise NotFoundError(f"no object {path}")
            return local
        with _translated(path):
            meta = self._backend.head(path)
        version = f"{path}\n{meta['e_tag']}\n{meta['last_modified']}\n{meta['size']}"
        name = hashlib.sha256(version.encode()).hexdigest() + "".join(Path(path).suffixes[-1:])
        assert self._copies is not None
        with _translated(path):
            return self._copies.path(name, size=int(meta["size"]), fetch=lambda: self.chunks(path))

    def _pieces(self, path: str, stream: Iterator[object]) -> Iterator[bytes]:
        while True:
            with _translated(path):
                piece = next(stream, None)
            if piece is None:
                return
            yield bytes(piece)  # type: ignore[call-overload]

    def _new_scratch_file(self) -> Path:
        return self._scratch / f"{uuid.uuid4().hex}.part"

    def _commit(self, written: Path, path: str) -> None:
        """Make a complete, flushed temporary file the object."""
        if self._root is None:
            remote.put_file(self._backend, path, written)
            return
        durable.rename(written, self._root / path, root=self._root)


class _Incoming:
    """One write in progress: counts, limits and hashes what flows into the temporary file."""

    def __init__(self, store: ObjectStore, path: str, *, max_bytes: int | None, sha256: str | None) -> None:
        _check_path(path)
        self._store, self._path = store, path
        self._max_bytes, self._expected = max_bytes, sha256
        self._size, self._hash = 0, hashlib.sha256()

    def __enter__(self) -> None:
        with _translated(self._path):
            self._name = self._store._new_scratch_file()
            self._file = self._name.open("w+b")
        self._early = durable.EarlyWriting(self._file)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._name.unlink(missing_ok=True)

    def write(self, chunk: bytes | bytearray) -> None:
        self._size += len(chunk)
        if self._max_bytes is not None and self._size > self._max_bytes:
            raise LimitExceededError(f"{self._path} is larger than the limit of {self._max_bytes} bytes")
        self._hash.update(chunk)
        with _translated(self._path):
            self._file.write(chunk)
        self._early.wrote(len(chunk))

    def commit(self) -> StoredObject:
        digest = self._hash.hexdigest()
        if self._expected is not None and self._expected.lower() != digest:
            raise InvalidInputError(
                f"the {self._size} bytes received for {self._path} have SHA-256 {digest}, "
                f"not {self._expected}; send them again"
            )
        with _translated(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._store._commit(self._name, self._path)
        return StoredObject(self._path, self._size, digest)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turn what a backend or the disk raises into errors of the platform."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"no object {path}") from error
    except (BaseError, OSError) as error:
        first_line = str(error).split("\n", 1)[0]
        raise UnavailableError(f"the object store failed at {path!r}: {first_line}") from error


@contextmanager
def _full_disk_translated(path: str) -> Iterator[None]:
    """As `_translated` around code of a caller, whose other errors are its own."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UnavailableError(f"no space left to write {path!r}") from error


def _check_path(path: str) -> None:
    if len(path) > _LONGEST_PATH or not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")):
        raise InvalidInputError(
            f"object path {path[:100]!r} must be segments of letters, digits and _.=@+- joined by /, "
            f"none starting with a dot, at most {_LONGEST_PATH} characters"
        )
