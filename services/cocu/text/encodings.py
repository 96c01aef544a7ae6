"""Bytes of unknown encoding → text: a byte order mark, else UTF-8, else the encoding that fits best.

A caption of twenty bytes says little about its encoding. So texts that belong together (the captions of an
archive, the lines of a table) are examined together: `Decoder.see` all of them, then `Decoder.decode` each.
The other texts decide only where a text itself is ambiguous. The result does not depend on their order.
"""

from __future__ import annotations

import codecs
import hashlib
import heapq
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import chardet

logger = logging.getLogger(__name__)

WESTERN = "cp1252"
EAST_ASIAN = ("gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949")
OTHER_SCRIPTS = ("cp1251", "koi8-r", "cp1253", "cp1255", "cp1256", "cp874", *EAST_ASIAN)
CANDIDATES = (WESTERN, "cp1250", "cp1254", "cp1257", "mac-roman", *OTHER_SCRIPTS)
"""The encodings to guess from: those that tools of the last decades wrote instead of UTF-8."""

EVIDENCE_TEXTS = 512
EVIDENCE_BYTES = 2048
"""How many texts are examined together, and how many bytes of each."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PREFERENCE = 0.03
"""Bonus of Windows-1252 over other encodings; the score of a text of one line is about 0.1."""
_CLEARLY = 4.0
_LEAST = 0.005
"""Another encoding replaces the usual one of a name if it scores so many times more, and at least this."""
_UNSEEN = 0.05
"""The share of an encoding that was not seen yet."""
_AMONG_LATIN = 0.3
"""Factor on other scripts for a text that is mostly ASCII letters."""
_NEARLY = 0.8
"""The share of non-ASCII bytes that must be valid UTF-8 for a text to count as damaged UTF-8."""
_HIGH_BYTES = bytes(range(128, 256))
_ASCII_LETTER = re.compile(rb"[A-Za-z]")
_BETWEEN_MARKS = re.compile(rb"[^\n\",]+")
"""No encoding of East Asia has a line end, a quote or a comma within a character."""
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True)
class Decoded:
    """A text, its encoding, whether the encoding was guessed, and how many characters were lost."""

    text: str
    encoding: str
    guessed: bool = False
    lost: int = 0


@dataclass
class Tally:
    """How many texts had a guessed encoding, by encoding, and how many characters were lost."""

    guessed: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    def text(self, decoded: Decoded) -> str:
        """Count a text and return it."""
        if decoded.guessed:
            self.guessed[decoded.encoding] += 1
        self.lost += decoded.lost
        return decoded.text


def marked_encoding(raw: bytes) -> tuple[str, int] | None:
    """The encoding of the byte order mark, and the mark's length; None without a mark."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding, len(mark)
    return None


def decode_text(raw: bytes) -> Decoded:
    """Decode a single text; never raises an error."""
    decoder = Decoder()
    decoder.see(raw)
    return decoder.decode(raw)


def read_text(path: Path) -> str:
    """The text of a local file; a guessed encoding and lost characters are logged. Raises OSError."""
    decoded = decode_text(path.read_bytes())
    if decoded.guessed:
        logger.warning("%s is not UTF-8; read as %s", path.name, decoded.encoding)
    if decoded.lost:
        logger.warning("%s: %d characters were lost; save it as UTF-8", path.name, decoded.lost)
    return decoded.text


def decode_lines(raw: bytes, tally: Tally) -> list[str]:
    """The lines of a text; all lines that are not UTF-8 get the same encoding where possible."""
    marked = marked_encoding(raw)
    if (marked is not None and marked[0] != "utf-8") or _wide(raw) is not None:
        return tally.text(decode_text(raw)).split("\n")
    with suppress(UnicodeDecodeError):
        return raw.decode("utf-8-sig").split("\n")
    lines = raw.removeprefix(codecs.BOM_UTF8).split(b"\n")
    decoder = Decoder(lines)
    usual = decoder.best() if decoder.has_evidence else None
    return [tally.text(decoder.decode(line, usual=usual)) for line in lines]


class Decoder:
    """Decodes texts that belong together; call `see` for all of them, or many, before `decode`."""

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        self._evidence: list[tuple[bytes, bytes]] = []
        self._shares: dict[str, float] | None = None
        for raw in texts:
            self.see(raw)

    def see(self, raw: bytes) -> None:
        """Take a text into account; a text in UTF-8 costs almost nothing."""
        if not needs_guess(raw):
            return
        piece = _excerpt(raw)
        # Keep the texts with the smallest hashes: this choice does not depend on the order of the texts.
        entry = (hashlib.blake2b(piece, digest_size=8).digest(), piece)
        heapq.heappush(self._evidence, (_flipped(entry[0]), piece))
        if len(self._evidence) > EVIDENCE_TEXTS:
            heapq.heappop(self._evidence)
        self._shares = None

    @property
    def has_evidence(self) -> bool:
        """Whether any text was seen whose encoding must be guessed."""
        return bool(self._evidence)

    def decode(self, raw: bytes, *, usual: str | None = None) -> Decoded:
        """Decode a text, without its byte order mark.

        usual: the encoding of all texts that are not UTF-8, if known; others are tried only if it fails.
        """
        marked = marked_encoding(raw)
        if marked is not None:
            encoding, length = marked
            return _replaced(raw[length:], encoding)
        wide = _wide(raw)
        if wide is not None:
            return Decoded(raw.decode(wide), wide, guessed=True)
        with suppress(UnicodeDecodeError):
            return Decoded(raw.decode("utf-8"), "utf-8")
        if usual not in EAST_ASIAN and _damaged_utf8(raw):
            return _replaced(raw, "utf-8")
        if usual is not None:
            with suppress(UnicodeDecodeError):
                return Decoded(raw.decode(usual), usual, guessed=True)
        return self._guessed(raw)

    def best(self) -> str:
        """The encoding that fits best all texts seen."""
        shares = self._shared()
        return max(CANDIDATES, key=lambda encoding: shares.get(encoding, 0.0))

    def _guessed(self, raw: bytes) -> Decoded:
        shares = self._shared()
        scores = dict(_scores(_excerpt(raw)))
        scores[WESTERN] = scores.get(WESTERN, 0.0) + (_PREFERENCE if WESTERN in scores else 0.0)
        ranked = sorted(
            CANDIDATES,
            key=lambda candidate: -scores.get(candidate, 0.0) * (_UNSEEN + shares.get(candidate, 0.0)),
        )
        for encoding in ranked:
            if scores.get(encoding, 0.0) > 0:
                try:
                    return Decoded(raw.decode(encoding), encoding, guessed=True)
                except UnicodeDecodeError:
                    continue
        return _replaced(raw, ranked[0], guessed=True)

    def _shared(self) -> dict[str, float]:
        if self._shares is None:
            totals: Counter[str] = Counter()
            for _, piece in sorted(self._evidence):
                for encoding, score in _scores(piece):
                    totals[encoding] += score  # type: ignore[assignment]
            if WESTERN in totals:  # a bonus that has little weight among many texts
                totals[WESTERN] += _PREFERENCE * min(len(self._evidence), 2)  # type: ignore[assignment]
            total_score = sum(totals.values()) or 1.0
            self._shares = {encoding: total / total_score for encoding, total in totals.items()}
        return self._shares


def best_of(raw: bytes, usual: str, others: Sequence[str]) -> str:
    """The encoding of a text: the usual one, unless one of the others fits clearly better."""
    scores = {usual: 0.0} | dict(_fits(raw, (usual, *others)))
    best = max((usual, *others), key=lambda encoding: scores.get(encoding, 0.0))
    return best if scores.get(best, 0.0) > max(_LEAST, _CLEARLY * scores[usual]) else usual


def needs_guess(raw: bytes) -> bool:
    """Whether a text has no byte order mark and is not UTF-8."""
    if raw.isascii() or marked_encoding(raw) is not None:
        return False
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return not _damaged_utf8(raw)
    return False


@lru_cache(maxsize=4096)
def _scores(raw: bytes) -> tuple[tuple[str, float], ...]:
    """How well each encoding fits, in [0, 1]."""
    scores: dict[str, float] = dict(_fits(raw, CANDIDATES))
    if len(_ASCII_LETTER.findall(raw)) > len(_NOT_ASCII.findall(raw)):
        # A few bytes among Latin letters are more likely accented letters than another script.
        scores |= {encoding: _AMONG_LATIN * scores.get(encoding, 0.0) for encoding in OTHER_SCRIPTS}
    return tuple(sorted((encoding, score) for encoding, score in scores.items() if encoding in CANDIDATES))


def _fits(raw: bytes, encodings: Sequence[str]) -> Iterator[tuple[str, float]]:
    if not raw:  # it fits all encodings, and the library logs a warning
        return
    results = chardet.detect_all(
        raw,
        ignore_threshold=True,
        include_encodings=encodings,
        compat_names=False,
        no_match_encoding=encodings[0],
    )
    for result in results:
        yield str(result["encoding"]), float(result["confidence"])


def _excerpt(raw: bytes) -> bytes:
    """The parts of a text that show its encoding: for a long text, only the runs with non-ASCII bytes."""
    if len(raw) <= EVIDENCE_BYTES:
        return raw
    pieces: list[bytes] = []
    size = 0
    # Not one pattern for pieces with a byte above 127: it looks for one again from each byte of a long piece.
    for piece in _BETWEEN_MARKS.finditer(raw):
        if piece[0].isascii():
            continue
        pieces.append(piece[0])
        size += len(piece[0])
        if size >= EVIDENCE_BYTES:
            break
    return b"\n".join(pieces)[: 4 * EVIDENCE_BYTES]


def _replaced(raw: bytes, encoding: str, *, guessed: bool = False) -> Decoded:
    text = raw.decode(encoding, "replace")
    # U+FFFD that the text itself contains is not a loss.
    own = raw.decode(encoding, "ignore").count("\ufffd")
    return Decoded(text, encoding, guessed, text.count("\ufffd") - own)


def _damaged_utf8(raw: bytes) -> bool:
    """Whether a text is damaged UTF-8: cut off inside a character, or with few invalid bytes."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and not raw[: error.start].isascii():
            return True
    high = len(raw) - len(raw.translate(None, _HIGH_BYTES))
    return high - _replaced(raw, "utf-8").lost >= _NEARLY * high


def _wide(raw: bytes) -> str | None:
    """The encoding of UTF-16 without a byte order mark, else None: every second byte of it is mostly NUL."""
    if len(raw) < 4 or len(raw) % 2 or b"\0" not in raw:
        return None
    for encoding, high, low in (("utf-16-le", raw[1::2], raw[::2]), ("utf-16-be", raw[::2], raw[1::2])):
        if 2 * high.count(0) > len(high) and 0 not in low:
            try:
                raw.decode(encoding)
            except UnicodeDecodeError:
                return None
            return encoding
    return None


def _flipped(digest: bytes) -> bytes:
    """The digest in reverse order of sorting: heapq removes the smallest item, here the largest hash."""
    return bytes(255 - byte for byte in digest)
