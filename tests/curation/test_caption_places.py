"""Places of concepts in captions: they agree with the bulk matcher, and what they cut out is the concept."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation import caption_places, surface_forms
from cocu.curation.vocabulary import Vocabulary

SPACED = Vocabulary.from_lines(
    "dog = puppy\nhot dog\ncafé\nfire hydrant\ncat and dog\nbench\nstand\ncan\norange\nshirt\n"
    "соба́ка\nघर\n강아지\nkg\nteddy bear\ndog's bowl\n",
    name="spaced",
)
MIXED = Vocabulary.from_lines(
    "狗\n草地\n消防车 = 救火车\nT恤\nスケートボード\nหญ้า\nน้ำ\nจักรยาน\ndog\nfire hydrant\ncafé\n", name="mixed"
)


def _cut(vocabulary: Vocabulary, caption: str) -> list[tuple[str, str]]:
    return [
        (vocabulary.names[place.concept], caption[place.start : place.end])
        for place in vocabulary.locate(caption)
    ]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A DOG on two benches.", [("dog", "DOG"), ("bench", "benches")]),
        ("a hot dog, a dog; puppies", [("hot dog", "hot dog"), ("dog", "dog"), ("dog", "puppies")]),
        ("a fire-hydrant", [("fire hydrant", "fire-hydrant")]),
        ("the cat & dog", [("cat and dog", "cat & dog")]),
        ("the dog's bowl", [("dog's bowl", "dog's bowl")]),
        ("the dog’s bowl", [("dog's bowl", "dog’s bowl")]),
        ("the dog's", [("dog", "dog")]),
        ("a cafe\u0301!", [("café", "cafe\u0301")]),
        ("a CAFÉ!", [("café", "CAFÉ")]),
        ("ａ ｄｏｇ", [("dog", "ｄｏｇ")]),
        ("20 ㎏ of it", [("kg", "㎏")]),
        ("a d\u00ado\u200bg", [("dog", "d\u00ado\u200bg")]),
        ("он и соба́ка", [("соба́ка", "соба́ка")]),
        ("यह घर है", [("घर", "घर")]),
        (unicodedata.normalize("NFD", "강아지 둘"), [("강아지", unicodedata.normalize("NFD", "강아지"))]),
        ("it stands on a stand, an orange shirt", [("stand", "stand"), ("shirt", "shirt")]),
        ("nothing of it", []),
        ("", []),
    ],
)
def test_a_place_is_what_the_caption_says(caption: str, expected: list[tuple[str, str]]) -> None:
    assert _cut(SPACED, caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("一只狗在草地上", [("狗", "狗"), ("草地", "草地")]),
        ("路边有一辆救火车和狗", [("消防车", "救火车"), ("狗", "狗")]),
        ("穿红色Ｔ恤的男人", [("T恤", "Ｔ恤")]),
        ("ｽｹｰﾄﾎﾞｰﾄﾞに乗る", [("スケートボード", "ｽｹｰﾄﾎﾞｰﾄﾞ")]),
        ("หมาดื่มน้ำข้างจักรยาน", [("น้ำ", "น้ำ"), ("จักรยาน", "จักรยาน")]),
        ("热狗", []),
        ("café 里一只狗 and dogs", [("café", "café"), ("狗", "狗"), ("dog", "dogs")]),
        ("two dogs", [("dog", "dogs")]),
    ],
)
def test_a_place_in_a_script_without_spaces(caption: str, expected: list[tuple[str, str]]) -> None:
    assert _cut(MIXED, caption) == expected


PHRASES = st.sampled_from(
    [form for vocabulary in (SPACED, MIXED) for concept in vocabulary.concepts for form in concept.forms]
)
FORMS = st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])
CASES = st.sampled_from([str.upper, str.title, str.casefold, str])
PIECES = st.one_of(
    st.builds(lambda text, form, case: unicodedata.normalize(form, case(text)), PHRASES, FORMS, CASES),
    st.sampled_from(
        [" ", " a ", ", ", "-", "'s ", "’s", " & ", "的", "在", "\u0301", "\u0e33", "½", "…", "ﬁ", "İ", "ß"]
    ),
    st.text(max_size=3),
)
CAPTIONS = st.lists(PIECES, max_size=8).map("".join)


@settings(deadline=None, max_examples=400)
@given(CAPTIONS)
def test_places_name_the_concepts_that_match_finds(caption: str) -> None:
    for vocabulary in (SPACED, MIXED):
        places = vocabulary.locate(caption)
        assert sorted({place.concept for place in places}) == vocabulary.match(caption)
        for place in places:
            assert 0 <= place.start < place.end <= len(caption)
            assert place.concept in vocabulary.match(caption[place.start : place.end])
        starts = [place.start for place in places]
        assert starts == sorted(starts)


@settings(deadline=None, max_examples=400)
@given(st.one_of(CAPTIONS, st.text(max_size=40)))
def test_tokens_are_those_of_the_bulk(caption: str) -> None:
    assert caption_places.words(caption).tokens == surface_forms.words(caption)
    segmented = caption_places.segmented_words(caption)
    assert (segmented.tokens, segmented.word_ends) == surface_forms.segmented_words(caption)
    for placed in (caption_places.words(caption), segmented):
        for start, stop in zip(placed.starts, placed.stops, strict=True):
            assert 0 <= start < stop <= len(caption)
            # A combining mark belongs to the character before it.
            assert stop == len(caption) or not unicodedata.combining(caption[stop])
