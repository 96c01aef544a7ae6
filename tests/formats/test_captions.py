"""Captions as people write and damage them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.formats.captions import BadCaption, clean_caption, storable
from cocu.formats.limits import Limits
from cocu.formats.rejections import Reason
from cocu.text.encodings import Tally


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"A dog.\n", "A dog."),
        (b"\xef\xbb\xbfA dog", "A dog"),
        ("\ufeffA dog", "A dog"),
        ("A dög 狗 🐕".encode(), "A dög 狗 🐕"),
        ("A dog".encode("utf-16"), "A dog"),
        (b"\xfe\xff\x00A\x00 \x00d\x00o\x00g", "A dog"),
        (b"caf\xe9 table", "café table"),
        ("A dög\u2026".encode() + b"\xe7", "A dög\u2026\ufffd"),
        (b"A\0 dog", "A dog"),
        ("A \ud800 dog", "A \ufffd dog"),
        ("A \ud83d\udc15 dog", "A 🐕 dog"),
        (b"line one\nline\ttwo\r\n", "line one\nline\ttwo"),
        (b"<script>alert('a dog')</script>", "<script>alert('a dog')</script>"),
        ("שלום \u202e a dog", "שלום \u202e a dog"),
        (b'=HYPERLINK("http://x")', '=HYPERLINK("http://x")'),
    ],
)
def test_what_is_kept_of_a_caption(raw: bytes | str, kept: str) -> None:
    assert clean_caption(raw) == kept


@pytest.mark.parametrize("raw", [b"", b" \n\t ", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", "", "\u00a0\u2003"])
def test_nothing_is_not_a_caption(raw: bytes | str) -> None:
    assert clean_caption(raw) == BadCaption(Reason.EMPTY_CAPTION, "nothing but white space")


def test_a_megabyte_is_not_a_caption() -> None:
    bad = clean_caption(b"dog " * 250_000)
    assert isinstance(bad, BadCaption)
    assert bad.reason is Reason.CAPTION_TOO_LONG
    assert clean_caption("ö" * 5, limits=Limits(max_caption_bytes=10)) == "ö" * 5
    assert isinstance(clean_caption("ö" * 6, limits=Limits(max_caption_bytes=10)), BadCaption)


@given(st.binary() | st.text(st.characters()))
def test_any_caption_can_be_stored_or_has_a_reason(raw: bytes | str) -> None:
    cleaned = clean_caption(raw)
    if isinstance(cleaned, str):
        assert cleaned.encode("utf-8").decode("utf-8") == cleaned
        assert "\0" not in cleaned
        assert clean_caption(cleaned) in (cleaned, cleaned.removeprefix("\ufeff").strip())


@given(st.text())
def test_text_that_can_be_stored_stays_as_it_is(text: str) -> None:
    assert storable(text) == text.replace("\0", "")


def test_what_is_guessed_or_lost_is_counted() -> None:
    tally = Tally()
    assert clean_caption(b"caf\xe9 table", tally=tally) == "café table"
    assert clean_caption("狗 und".encode() + b"\xe7\x8b", tally=tally) == "狗 und\ufffd"
    assert clean_caption("plain é", tally=tally) == "plain é"
    assert (dict(tally.guessed), tally.lost) == ({"cp1252": 1}, 1)
