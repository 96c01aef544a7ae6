"""What an archive or a folder is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cocu.formats.limits import Limits
from cocu.formats.rejections import Reason, Rejection
from cocu.sample_names import normal_path


@dataclass(frozen=True)
class Member:
    """A regular file with a safe name.

    pieces: its bytes, `size` of them, some at a time; may be called before the next member is asked for, and
    only then. Raises ArchiveEndsError or UnreadableMemberError.
    """

    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]

    def read(self) -> bytes:
        """All of its bytes."""
        return b"".join(self.pieces())


Members = Iterator[Member | Rejection]


class ArchiveEndsError(Exception):
    """Nothing after this point can or may be read."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnreadableMemberError(Exception):
    """This member cannot be read; the next may."""


_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]|^[A-Za-z]:")


def check_name(raw: str, limits: Limits) -> str | Rejection:
    """A member's name as `normal_path` has it, or why it must not be used."""
    if len(raw.encode("utf-8", "surrogatepass")) > limits.max_name_bytes:
        return Rejection(
            None, raw, Reason.NAME_TOO_LONG, f"longer than the limit of {limits.max_name_bytes} bytes"
        )
    slashes = raw.replace("\\", "/")
    if _UNSAFE.search(raw) or slashes.startswith("/") or ".." in slashes.split("/"):
        return Rejection(None, raw, Reason.UNSAFE_NAME, "absolute, climbing or with control characters")
    return normal_path(raw)
