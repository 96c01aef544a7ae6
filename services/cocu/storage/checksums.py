"""Checksums inside files: what is read is compared with what was stored.

A checksum is MARK and the SHA-256 of all other bytes of the file. Parquet and Arrow files have it before
their footer: readers begin with the footer at the end, which says where everything else is. Other files have
it at their end; in an .npy that is after the last number. So every reader can still read such a file. A file
without a checksum was written by an earlier version or by another program, and is read unchecked.

    add(file, ARROW)              the last step of writing a new file
    verify(objects, path, ARROW)  return the local file after comparing it, once per process
    seal(data), unseal(path, …)   the same for a small file that is read as a whole
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cocu import machine
from cocu.errors import IntegrityError
from cocu.storage.objects import ObjectStore

MARK = b"cocuseal"
_DIGEST_BYTES = hashlib.sha256().digest_size
SIZE = len(MARK) + _DIGEST_BYTES
REMEMBERED = 65_536
"""Checked files that a process remembers, about 300 bytes each."""

_BLOCK = 1 << 20
_FOOTER_SIZE_BYTES = 4

Identity = tuple[int, int, int]


@dataclass(frozen=True)
class Kind:
    """How files of one kind end: the footer, its size in 4 bytes, and `ending`."""

    ending: bytes


PARQUET, ARROW, PLAIN = Kind(b"PAR1"), Kind(b"ARROW1"), Kind(b"")


def kind_of(path: str) -> Kind:
    """The kind of the files that the platform writes under this name."""
    return {".parquet": PARQUET, ".arrow": ARROW}.get(Path(path).suffix, PLAIN)


def add(file: BinaryIO, kind: Kind) -> None:
    """Add the checksum to a complete file that is open for reading and writing."""
    file.flush()
    end = file.seek(0, os.SEEK_END)
    position = _footer_start(file.fileno(), end, kind)
    digest = _digest(file.fileno(), position, position, end)
    footer = os.pread(file.fileno(), end - position, position)
    file.seek(position)
    file.write(MARK + digest + footer)


def seal(data: bytes) -> bytes:
    """Return the bytes of a small file of kind PLAIN with their checksum."""
    return data + MARK + hashlib.sha256(data).digest()


def unseal(path: str, sealed: bytes) -> bytes:
    """Return the bytes that `seal` got; `path` names them in errors. Raises IntegrityError."""
    data, mark, digest = sealed[:-SIZE], sealed[-SIZE:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
    if mark != MARK or hashlib.sha256(data).digest() != digest:
        raise damaged(path, "its checksum is missing, or is not that of its content")
    return data


def verify(objects: ObjectStore, path: str, kind: Kind) -> tuple[Path, bool]:
    """Return a local file with the object's bytes, and whether it has a checksum.

    Raises NotFoundError, and IntegrityError where the checksum does not match. A damaged local copy of a
    remote object is deleted and fetched again first.
    """
    with machine.translate_errors(f"read object {path}"):
        local = objects.local_path(path)
        try:
            return local, _verified.verify(local, path, kind)
        except IntegrityError:
            if not objects.forget_copy(local):
                raise
        local = objects.local_path(path)
        return local, _verified.verify(local, path, kind)


def damaged(path: str, what: str) -> IntegrityError:
    """The error that says which object is not what was stored, and what to do."""
    return IntegrityError(
        f"object {path} is damaged: {what}. `cocu catalog verify` lists what is damaged, which objects can "
        "be built again, and which must be restored"
    )


def identity(file: Path) -> Identity:
    """Values that change when a file is replaced or written to. Raises FileNotFoundError."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


class _Verified:
    """The files that this process has verified last, and whether each has a checksum."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, tuple[Identity, bool]] = OrderedDict()

    def verify(self, file: Path, path: str, kind: Kind) -> bool:
        """Return whether the file has a checksum. Raises IntegrityError where it does not match."""
        # Taken before reading: a file that changes meanwhile is read again next time.
        now = identity(file)
        with self._lock:
            known = self._known.get(file)
            if known is not None and known[0] == now:
                self._known.move_to_end(file)
                return known[1]
        # Not under the lock: other threads must not wait while a large file is read.
        has_checksum = _verify(file, path, kind)
        with self._lock:
            self._known[file] = now, has_checksum
            self._known.move_to_end(file)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return has_checksum


_verified = _Verified()


def _verify(file: Path, path: str, kind: Kind) -> bool:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.fstat(descriptor).st_size
        position = _footer_start(descriptor, end, kind) - SIZE
        stored = os.pread(descriptor, SIZE, position) if position >= 0 else b""
        if not stored.startswith(MARK):
            return False
        digest = _digest(descriptor, position, position + SIZE, end)
    finally:
        os.close(descriptor)
    expected = stored[len(MARK) :]
    if digest != expected:
        raise damaged(
            path, f"its content has SHA-256 {digest.hex()[:16]}…, not {expected.hex()[:16]}… as when written"
        )
    return True


def _footer_start(descriptor: int, end: int, kind: Kind) -> int:
    """Where the footer begins, or the end of a file without one; the checksum belongs directly before."""
    tail_size = _FOOTER_SIZE_BYTES + len(kind.ending)
    tail = os.pread(descriptor, tail_size, max(0, end - tail_size))
    if kind is PLAIN or not tail.endswith(kind.ending):
        return end
    return max(0, end - int.from_bytes(tail[:_FOOTER_SIZE_BYTES], "little") - len(tail))


def _digest(descriptor: int, first_end: int, second_start: int, end: int) -> bytes:
    """SHA-256 of the bytes before `first_end` and of those from `second_start` to `end`."""
    digest, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    for start, stop in ((0, first_end), (second_start, end)):
        position = start
        while position < stop:
            count = os.preadv(descriptor, [block[: min(_BLOCK, stop - position)]], position)
            if not count:
                break
            digest.update(block[:count])
            position += count
    return digest.digest()
