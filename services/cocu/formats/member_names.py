"""What members of zips, tars and folders are called: UTF-8 where it is stated or fits, else a code page.

None states its code page. A zip's should be cp437, and Windows writes that of its language; an old tar has
that of the machine. So names are looked at together, and another script is read only where it fits them all,
and clearly better.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from cocu.formats.notes import ENCODING_GUESSED, Notes
from cocu.text.encodings import best_of, needs_guess

USUAL = "cp437"
USUAL_OF_BYTES = "cp1252"
_OTHERS = ("cp866", "cp1251", "gb18030", "big5hkscs", "cp932", "cp949")
_OTHERS_OF_BYTES = (*_OTHERS, "koi8-r")
_STATED_UTF8 = 0x800
_UNICODE_PATH = 0x7075
_EVIDENCE_BYTES = 1 << 14


def code_page(infos: Iterable[zipfile.ZipInfo], notes: Notes | None = None) -> str:
    """The code page of the names of a zip that are not in UTF-8; `notes` counts that it is a guess."""
    names = [raw for info in infos if (raw := _raw(info)) is not None and needs_guess(raw)]
    return _best_page(names, USUAL, _OTHERS, notes) if names else USUAL


class RawNames:
    """The names of a tar or folder as texts. all_names: asked for at the first that is not UTF-8."""

    def __init__(self, all_names: Callable[[], Iterable[bytes]], notes: Notes) -> None:
        self._all_names = all_names
        self._notes = notes
        self._page = ""

    def text(self, raw: bytes) -> str:
        """The name that these bytes are."""
        if not needs_guess(raw):
            return raw.decode("utf-8", "replace")
        if not self._page:
            names = [name for name in self._all_names() if needs_guess(name)]
            self._page = _best_page(names or [raw], USUAL_OF_BYTES, _OTHERS_OF_BYTES, self._notes)
        return raw.decode(self._page, "replace")


def _best_page(names: Sequence[bytes], usual: str, others: Sequence[str], notes: Notes | None) -> str:
    fitting = [encoding for encoding in others if all(_decodes(raw, encoding) for raw in names)]
    # Endings and folders that are ASCII say nothing.
    letters = b"\n".join(raw.rpartition(b".")[0] for raw in names)[:_EVIDENCE_BYTES]
    page = best_of(letters, usual, fitting)
    if notes is not None:
        # Once, although an archive is read twice.
        notes.others[f"{ENCODING_GUESSED}: {page} (names of members)"] = 1
    return page


def member_name(info: zipfile.ZipInfo, page: str) -> str:
    """The name of a member; one in no stated encoding is read in this code page.

    Beside names in cp437 there may be some in UTF-8. Where the page is another, short names in it can be
    valid UTF-8 by chance.
    """
    raw = _raw(info)
    if raw is None:
        return info.filename
    stated = _stated_beside(info, raw)
    if stated is not None:
        return stated
    if page == USUAL and not needs_guess(raw):
        return raw.decode("utf-8", "replace")  # macOS and many tools write UTF-8 without saying so
    return raw.decode(page, "replace")


def _raw(info: zipfile.ZipInfo) -> bytes | None:
    """The bytes of a name in no stated encoding, None where it is plain."""
    if info.flag_bits & _STATED_UTF8 or info.filename.isascii():
        return None
    try:
        return info.filename.encode(USUAL)  # as which the standard library has read it
    except UnicodeEncodeError:
        return None


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _stated_beside(info: zipfile.ZipInfo, raw: bytes) -> str | None:
    """The name in UTF-8 that Info-ZIP puts beside one in another encoding, if it is of this one."""
    for kind, data in _fields(info.extra):
        if kind == _UNICODE_PATH and data[:1] == b"\1" and data[1:5] == struct.pack("<I", zlib.crc32(raw)):
            try:
                return data[5:].decode()
            except UnicodeDecodeError:
                return None
    return None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        yield kind, extra[4 : 4 + size]
        extra = extra[4 + size :]
