"""Captions in scripts that put no spaces between words."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation import segmentation
from cocu.curation.vocabulary import Vocabulary

WORDS = """
狗
猫
草地
消防车 = 救火车
T恤
犬
庭
男の子
スケートボード
自転車 (乗り物)
หมา
หญ้า
แมว
น้ำ
จักรยาน
ຫມາ
fire hydrant
dog
stand
"""


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_lines(WORDS, name="mixed")


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("一只狗在草地上", {"狗", "草地"}),
        ("一隻狗在草地上奔跑", {"狗", "草地"}),
        ("一辆红色的消防车停在路边", {"消防车"}),
        ("路边有一辆救火车", {"消防车"}),
        ("穿红色Ｔ恤的男人在打网球", {"T恤"}),
        ("热狗", set()),
        ("犬と猫が庭にいる", {"犬", "猫", "庭"}),
        ("スケートボードに乗る男の子", {"スケートボード", "男の子"}),
        ("ｽｹｰﾄﾎﾞｰﾄﾞに乗る", {"スケートボード"}),
        ("自転車に乗る", {"自転車 (乗り物)"}),
        ("หมาอยู่บนหญ้า", {"หมา", "หญ้า"}),
        ("แมวดื่มน้ำข้างจักรยาน", {"แมว", "น้ำ", "จักรยาน"}),
        ("一只狗 beside two fire hydrants; a dog stands", {"狗", "fire hydrant", "dog"}),
        ("two dogs", {"dog"}),
    ],
)
def test_concepts_are_found_where_words_begin_and_end(
    vocabulary: Vocabulary, caption: str, named: set[str]
) -> None:
    assert {vocabulary.names[concept] for concept in vocabulary.match(caption)} == named


def test_a_vocabulary_says_what_finds_its_words(vocabulary: Vocabulary) -> None:
    assert vocabulary.segmenter == segmentation.version()
    assert json.loads(vocabulary.to_json())["segmenter"].startswith("icu ")
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    assert vocabulary.find("Ｔ恤") == vocabulary.names.index("T恤")


def test_vocabularies_of_other_scripts_are_what_they_were() -> None:
    own = Vocabulary.from_lines("dog\ncafé\nсобака\n개\n", name="own")
    assert own.segmenter is None
    assert "segmenter" not in own.to_json()
    assert Vocabulary.shipped().hash.startswith("3a72f8384b4a")


def test_without_a_segmenter_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch, vocabulary: Vocabulary
) -> None:
    monkeypatch.setattr(segmentation, "_icu", lambda: None)
    plain = Vocabulary.from_lines("狗\n猫\ndog\n", name="plain")
    assert (plain.segmenter, plain.unmatched) == (None, 2)
    assert plain.match("一只狗在草地上") == []
    assert [plain.names[concept] for concept in plain.match("狗")] == ["狗"]
    with pytest.raises(ValueError, match=r"icu .* here is nothing.*pip install icu4py"):
        vocabulary.match_captions(["一只狗在草地上"])


def test_every_process_finds_the_same(vocabulary: Vocabulary) -> None:
    captions = ["犬と猫が庭にいる", "หมาอยู่บนหญ้า", "一只狗在草地上"]
    program = (
        "import sys, json; from cocu.curation.vocabulary import Vocabulary\n"
        "document, captions = json.load(sys.stdin)\n"
        "print(json.dumps([Vocabulary.from_json(document).match(caption) for caption in captions]))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([vocabulary.to_json(), captions]),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "LC_ALL": "C"},
    )
    assert json.loads(completed.stdout) == [vocabulary.match(caption) for caption in captions]


@given(st.text("狗猫草地的在 a,T恤がニหญ้า消防车\u200b𠀀", max_size=30))
def test_any_text_is_safe(caption: str) -> None:
    vocabulary = Vocabulary.from_lines("狗\n猫\n草地\n消防车\nหญ้า\n", name="own")
    assert set(vocabulary.match(caption)) <= set(range(len(vocabulary)))
    assert "".join(segmentation.words_of(caption)) == caption
