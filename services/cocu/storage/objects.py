"""Objects: files under names, written completely or not at all.

Every write goes to a temporary file first. Its bytes are counted and hashed, and it becomes the object in one
step: for file:// by fsync and rename, for other stores by one put or one completed multipart upload. So no
reader ever sees an incomplete object, whenever a process is killed. A crash leaves a temporary file that is
not listed and that the next `open`, or the sweeper, deletes. On file:// an object and its name are on disk
when the call returns, so it survives a power cut.
"""

from __future__ import annotations

import builtins
import hashlib
import os
import tempfile
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore
from obstore.store import ObjectStore as Backend

from cocu import machine
from cocu.errors import IntegrityError, InvalidInputError, LimitExceededError, NotFoundError, UnavailableError
from cocu.storage import durable, paths, remote
from cocu.storage.blocks import run_to_end, write_blocks
from cocu.storage.local_cache import DEFAULT_BYTES, LocalCopies
from cocu.storage.ranges import RangeReads, read_all, read_file_into, read_object_into

_INCOMING = ".incoming"
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """What was written: path, size in bytes, SHA-256 of the bytes in hex."""

    path: str
    size: int
    sha256: str


class ObjectStore:
    """Objects of one store. Safe to use from many threads and processes.

    Paths are segments of letters, digits and `_.=@+-`, joined by `/`; no segment starts with a dot. Anything
    else raises InvalidInputError, so that no name from a client leads out of the store. A store that does
    not answer, or a full disk, raises UnavailableError.
    """

    def __init__(self, backend: Backend, *, scratch: Path, root: Path | None) -> None:
        self._backend = backend
        self._scratch = scratch
        self._root = root
        self._copies: LocalCopies | None = None

    @classmethod
    def open(cls, url: str, *, cache: Path | None = None, cache_bytes: int = DEFAULT_BYTES) -> ObjectStore:
        """Open file:///folder or a plain path (created if need be), memory:// (for tests) or s3://bucket/prefix.

        cache: for stores that are not files, the folder of temporary files and local copies; default: a new
        temporary folder. cache_bytes: limit of all copies together. s3:// takes its credentials and
        endpoint from the usual AWS_* variables.
        """
        parts = urlsplit(url)
        if parts.scheme in ("", "file"):
            if parts.netloc not in ("", "localhost"):
                raise InvalidInputError(f"objects URL {url!r} names a host; write file:///folder")
            root = Path(unquote(parts.path) if parts.scheme else url).expanduser().absolute()
            with _translate_errors(url):
                scratch = root / _INCOMING
                scratch.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                scratch.mkdir(exist_ok=True, mode=0o700)
                durable.delete_abandoned(scratch)
                return cls(LocalStore(root), scratch=scratch, root=root)
        scratch = cache if cache is not None else Path(tempfile.mkdtemp(prefix="cocu-objects-"))
        with _translate_errors(url):
            scratch.mkdir(parents=True, exist_ok=True)
            durable.delete_abandoned(scratch)
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

        An error leaves the old object as it was. Raises LimitExceededError for more than max_bytes,
        InvalidInputError where `sha256` (hex) is not that of the stream, and what `chunks` raises.
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
        """As `put_chunks` for an asynchronous stream; another thread writes to the disk."""
        incoming = _Incoming(self, path, max_bytes=max_bytes, sha256=sha256)
        with incoming:
            await write_blocks(chunks, incoming.write)
            return await run_to_end(incoming.commit)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """A new seekable file, open for writing and reading, that becomes the object when the block ends.

        An exception in the block leaves the old object as it was. For file:// nothing is copied.
        """
        paths.check(path)
        with ExitStack() as stack:
            with _translate_errors(path):
                name, file = stack.enter_context(durable.new_part(self._scratch))
            with _machine_translated(path):
                yield file
            with _translate_errors(path):
                file.flush()
                os.fsync(file.fileno())
                self._commit(name, path)

    @property
    def scratch(self) -> Path:
        """A folder for files that are to become objects; for file:// on the same disk as these."""
        return self._scratch

    def delete_abandoned(self) -> int:
        """Delete the temporary files of processes that died; return how many."""
        deleted = durable.delete_abandoned(self._scratch)
        return deleted + (0 if self._copies is None else self._copies.delete_abandoned())

    def adopt(self, path: str, file: Path, *, known: StoredObject | None = None) -> StoredObject:
        """Make a complete file in `scratch` the object; the file does not exist afterwards.

        For file:// nothing is copied. known: size and hash from its writer; where the size is that of the
        file, the file is not read again to hash it. Raises NotFoundError where the file does not exist.
        """
        paths.check(path)
        with _translate_errors(path):
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
        paths.check(path)
        with _translate_errors(path):
            return bytes(self._backend.get(path).bytes())

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`. Raises NotFoundError, and IntegrityError when the object is shorter."""
        paths.check(path)
        if offset < 0 or size < 0:
            raise ValueError(f"offset and size must not be negative, not {offset} and {size}")
        if size == 0:
            self.size(path)
            return b""
        with _translate_errors(path):
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
        """Fill each view with the bytes from its offset on, without allocating memory.

        Fastest with ascending offsets; a remote store gets one request for ranges that are close together.
        size: of the object; looked up where it is None.

        Raises NotFoundError, and IntegrityError when the object is shorter.
        """
        paths.check(path)
        if any(offset < 0 or not view.nbytes for offset, view in ranges):
            raise ValueError("offsets must not be negative, and views must not be empty")
        # Some versions of obstore abort the process when a range begins after the end.
        object_size = self.size(path) if size is None else size
        if object_size < max((offset + view.nbytes for offset, view in ranges), default=0):
            raise IntegrityError(f"object {path} ends before bytes that should be in it")
        with _translate_errors(path):
            if self._root is not None:
                read_file_into(self._root / path, ranges)
            else:
                read_object_into(self._backend, path, ranges)

    def read_all_into(self, reads: Sequence[RangeReads]) -> None:
        """As `read_into` for several objects; remote ones are read at the same time."""
        threads = self._root is None and len(reads) > 1
        read_all(lambda part: self.read_into(part.path, part.ranges, size=part.size), reads, threads=threads)

    def chunks(self, path: str, *, size: int = _COPY_BYTES) -> Iterator[bytes]:
        """The object in pieces of about `size` bytes. Raises NotFoundError before the first."""
        paths.check(path)
        with _translate_errors(path):
            if self._root is None:
                return self._pieces(path, remote.pieces(self._backend, path))
            stream = self._backend.get(path).stream(min_chunk_size=size)
        return self._pieces(path, iter(stream))

    def exists(self, path: str) -> bool:
        """Whether the object exists."""
        try:
            self.size(path)
        except NotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        """Bytes of the object. Raises NotFoundError."""
        paths.check(path)
        with _translate_errors(path):
            return int(self._backend.head(path)["size"])

    def list(self, prefix: str = "", *, older_than: float = 0.0) -> builtins.list[str]:
        """Sorted paths under a folder ("a/b" is a/b/…, not a/bc; "" is all), older than so many seconds."""
        if prefix:
            prefix = prefix.rstrip("/")
            paths.check(prefix)
        with _translate_errors(prefix):
            listed = remote.list_paths(self._backend, prefix or None, older_than=older_than)
        return sorted(path for path in listed if not path.startswith(_INCOMING + "/") and path != prefix)

    def delete(self, path: str) -> None:
        """Delete the object if it exists."""
        paths.check(path)
        with _translate_errors(path), suppress(FileNotFoundError):
            self._backend.delete(path)

    def delete_prefix(self, prefix: str) -> int:
        """Delete everything under a folder; return the number of objects that were there."""
        listed = self.list(prefix)
        if self._root is None:
            with _translate_errors(prefix):
                remote.delete_all(self._backend, listed)
            return len(listed)
        for path in listed:
            self.delete(path)
        if prefix:
            durable.remove_empty_folders(self._root / prefix)
        return len(listed)

    def signed_url(self, path: str, *, seconds: float) -> str | None:
        """A URL that allows reading the object for so many seconds; None where the store has no such URLs."""
        paths.check(path)
        return remote.signed_url(self._backend, path, seconds=seconds)

    def local_path(self, path: str) -> Path:
        """A local file with the object's bytes, to be mapped into memory and not to be changed.

        For file:// the object itself; for other stores a copy, fetched once per version of the object.
        Raises NotFoundError.
        """
        paths.check(path)
        if self._root is not None:
            local = self._root / path
            with _translate_errors(path):
                if not local.is_file():
                    raise NotFoundError(f"no object {path}")
            return local
        with _translate_errors(path):
            meta = self._backend.head(path)
        version = f"{path}\n{meta['e_tag']}\n{meta['last_modified']}\n{meta['size']}"
        name = hashlib.sha256(version.encode()).hexdigest() + "".join(Path(path).suffixes[-1:])
        assert self._copies is not None
        with _translate_errors(path):
            return self._copies.path(name, size=int(meta["size"]), fetch=lambda: self.chunks(path))

    def identity(self, path: str) -> tuple[int, ...] | None:
        """Values that change when the file of an object does; None where objects are not files."""
        if self._root is None:
            return None
        with _translate_errors(path):
            status = (self._root / path).stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def forget_copy(self, local: Path) -> bool:
        """Delete a damaged local copy; return False where the file is the object itself."""
        if self._root is not None:
            return False
        local.unlink(missing_ok=True)
        return True

    def _pieces(self, path: str, stream: Iterator[object]) -> Iterator[bytes]:
        while True:
            with _translate_errors(path):
                piece = next(stream, None)
            if piece is None:
                return
            yield bytes(piece)  # type: ignore[call-overload]

    def _commit(self, written: Path, path: str) -> None:
        """Make a complete temporary file, which is flushed, the object."""
        if self._root is None:
            remote.put_file(self._backend, path, written)
            return
        durable.rename(written, self._root / path, root=self._root)


class _Incoming:
    """One write in progress: counts, limits and hashes what flows into the temporary file."""

    def __init__(self, store: ObjectStore, path: str, *, max_bytes: int | None, sha256: str | None) -> None:
        paths.check(path)
        self._store, self._path = store, path
        self._max_bytes, self._expected = max_bytes, sha256
        self._size, self._hash = 0, hashlib.sha256()

    def __enter__(self) -> None:
        self._stack = ExitStack()
        with _translate_errors(self._path):
            self._name, self._file = self._stack.enter_context(durable.new_part(self._store.scratch))
        self._early = durable.EarlyWriting(self._file)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, chunk: bytes | bytearray) -> None:
        self._size += len(chunk)
        if self._max_bytes is not None and self._size > self._max_bytes:
            raise LimitExceededError(f"{self._path} is larger than the limit of {self._max_bytes} bytes")
        self._hash.update(chunk)
        with _translate_errors(self._path):
            self._file.write(chunk)
        self._early.wrote(len(chunk))

    def commit(self) -> StoredObject:
        digest = self._hash.hexdigest()
        if self._expected is not None and self._expected.lower() != digest:
            raise InvalidInputError(
                f"the {self._size} bytes received for {self._path} have SHA-256 {digest}, "
                f"not {self._expected}; send them again"
            )
        with _translate_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._store._commit(self._name, self._path)
        return StoredObject(self._path, self._size, digest)


@contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    """Turn errors of a backend or the disk into those of the platform."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"no object {path}") from error
    except (BaseError, OSError) as error:
        machine.raise_machine_error(error, "use the object store", file=path)
        reason = str(error).partition("\n")[0]
        raise UnavailableError(f"the object store failed at {path!r}: {reason}") from error


@contextmanager
def _machine_translated(path: str) -> Iterator[None]:
    """As `_translate_errors` around code of a caller, whose other errors are passed on unchanged."""
    try:
        yield
    except (OSError, MemoryError) as error:
        machine.raise_machine_error(error, "use the object store", file=path)
        raise
