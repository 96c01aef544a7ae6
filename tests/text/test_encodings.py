"""Bytes of strangers → text."""

from __future__ import annotations

import codecs
import logging
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.text.encodings import (
    Decoded,
    Decoder,
    Tally,
    best_of,
    decode_lines,
    decode_text,
    needs_guess,
    read_text,
)

WESTERN = ["the dog’s café – 5 €", "a dog’s toy", "“quoted”", "naïve façade", "5 €", "un niño pequeño"]
CHINESE = ["一只狗在草地上", "狗", "一辆红色的消防车停在路边", "两个孩子在公园里玩"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("the dog’s café – 5 €", "cp1252"),
        ("a dog’s toy", "cp1252"),
        ("ein Mädchen mit grünem Hut", "latin-1"),
        ("一只狗在草地上", "gb18030"),
        ("一隻狗在草地上", "big5"),
        ("犬と猫が庭にいる", "cp932"),
        ("犬と猫が庭にいる", "euc_jp"),
        ("개가 잔디 위에", "cp949"),
        ("собака на траве", "cp1251"),
        ("собака на траве", "koi8-r"),
        ("σκύλος στο γρασίδι", "cp1253"),
        ("หมาอยู่บนหญ้า", "cp874"),
        ("a dog and a cat", "utf-16-le"),
        ("a dog and a cat", "utf-16-be"),
    ],
)
def test_one_short_text_alone_is_guessed_and_says_so(text: str, encoding: str) -> None:
    decoded = decode_text(text.encode(encoding))
    assert (decoded.text, decoded.guessed, decoded.lost) == (text, True, 0)


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_is_believed_and_dropped(mark: bytes, encoding: str) -> None:
    assert decode_text(mark + "狗 é".encode(encoding)) == Decoded("狗 é", encoding)


def test_texts_that_came_together_are_told_apart_whatever_their_order() -> None:
    texts = [(text, text.encode("cp1252")) for text in WESTERN]
    texts += [(text, text.encode("gb18030")) for text in CHINESE if text != "狗"]
    texts += [("ein Hund auf der Straße", "ein Hund auf der Straße".encode())]
    for seed in range(3):
        Random(seed).shuffle(texts)
        decoder = Decoder(raw for _, raw in texts)
        assert all(decoder.decode(raw).text == text for text, raw in texts)


def test_what_one_text_leaves_open_the_others_decide() -> None:
    alone = "狗".encode("gb18030")
    assert decode_text(alone).text != "狗"
    decoder = Decoder(text.encode("gb18030") for text in CHINESE)
    assert decoder.decode(alone).text == "狗"
    polish = ["pies na łące", "czerwony samochód na ulicy", "kot śpi na łóżku", "dziewczynka je jabłko"]
    decoder = Decoder(text.encode("cp1250") for text in polish)
    assert [decoder.decode(text.encode("cp1250")).text for text in polish] == polish


def test_utf8_that_was_damaged_or_cut_off_stays_utf8_and_the_loss_is_counted() -> None:
    assert decode_text("ein Mädchen, 狗".encode()[:-1]) == Decoded("ein Mädchen, \ufffd", "utf-8", False, 1)
    damaged = "日本の犬と猫".encode() + b"\xff" + "が庭にいる".encode()
    assert decode_text(damaged) == Decoded("日本の犬と猫\ufffdが庭にいる", "utf-8", False, 1)
    assert decode_text("\ufffd was there".encode()).lost == 0


@given(st.binary(max_size=80), st.lists(st.binary(max_size=40), max_size=3))
def test_any_bytes_become_text(raw: bytes, others: list[bytes]) -> None:
    decoder = Decoder([raw, *others])
    decoded = decoder.decode(raw)
    assert decoded == Decoder([*others, raw]).decode(raw)
    assert decoded.lost == 0 or "\ufffd" in decoded.text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_utf8_is_never_guessed_at(text: str) -> None:
    raw = text.encode()
    assert not needs_guess(raw)
    assert decode_text(raw) == Decoded(text.removeprefix("\ufeff"), "utf-8")


def test_read_text__says_what_it_guessed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "own.txt").write_bytes("café\nniño".encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        assert read_text(tmp_path / "own.txt") == "café\nniño"
    assert "own.txt is not UTF-8; read as cp1252" in caplog.text


def test_a_long_text_is_known_by_its_few_telling_bytes() -> None:
    text = "{" + '"a": 1, ' * 10_000 + f'"caption": "{CHINESE[2]}, {CHINESE[3]}"' + "}"
    assert decode_text(text.encode("gb18030")).text == text


def test_lines_of_one_text_may_be_in_two_encodings() -> None:
    lines = ["plain", "ein Mädchen", "the dog’s café", "naïve façade"]
    raw = b"\n".join(line.encode("utf-8" if "Mäd" in line else "cp1252") for line in lines)
    tally = Tally()
    assert decode_lines(raw, tally) == lines
    assert dict(tally.guessed) == {"cp1252": 2}


def test_nothing_at_all__is_of_the_usual_encoding_without_a_warning() -> None:
    assert decode_text(b"").text == ""
    assert best_of(b"", "cp437", ["cp866", "gb18030"]) == "cp437"


def test_a_long_run_of_ascii_beside_one_other_byte_is_read_in_linear_time() -> None:
    # A quadratic search takes hours, and ends at the time limit of tests.
    decoded = decode_text(b"x" * (1 << 20) + b",ein M\xe4dchen mit gr\xfcnem Hut")
    assert (decoded.encoding, decoded.text[-24:]) == ("cp1252", "ein Mädchen mit grünem Hut"[-24:])
