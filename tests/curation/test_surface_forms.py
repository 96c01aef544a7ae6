"""How captions may write a concept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation import surface_forms


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("dog", "dogs"),
        ("bus", "buses"),
        ("box", "boxes"),
        ("mailbox", "mailboxes"),
        ("bench", "benches"),
        ("city", "cities"),
        ("toy", "toys"),
        ("knife", "knives"),
        ("leaf", "leaves"),
        ("loaf", "loaves"),
        ("roof", "roofs"),
        ("giraffe", "giraffes"),
        ("tomato", "tomatoes"),
        ("piano", "pianos"),
        ("person", "people"),
        ("man", "men"),
        ("fireman", "firemen"),
        ("woman", "women"),
        ("human", "humans"),
        ("ottoman", "ottomans"),
        ("child", "children"),
        ("foot", "feet"),
        ("tooth", "teeth"),
        ("goose", "geese"),
        ("mongoose", "mongooses"),
        ("mouse", "mice"),
        ("house", "houses"),
        ("sheep", "sheep"),
        ("fish", "fish"),
        ("starfish", "starfish"),
        ("deer", "deer"),
        ("scissors", "scissors"),
        ("aircraft", "aircraft"),
    ],
)
def test_plural(singular: str, plural: str) -> None:
    assert surface_forms.plural(singular) == plural
    if plural != singular:
        assert singular in surface_forms.singulars(plural)


@pytest.mark.parametrize("word", ["bus", "grass", "glasses", "tennis", "dog", "scissors", "people's"])
def test_a_singular_has_no_singular(word: str) -> None:
    assert all(surface_forms.plural(singular) == word for singular in surface_forms.singulars(word))
    assert word not in surface_forms.singulars(word)


@pytest.mark.parametrize(
    ("phrase", "variant"),
    [
        ("hot dog", "hot dogs"),
        ("hot dog", "hotdog"),
        ("hot dog", "hotdogs"),
        ("teddy bear", "teddybears"),
        ("skateboard", "skate board"),
        ("watermelon", "water melons"),
        ("bowl of soup", "bowls of soup"),
        ("grey cat", "gray cats"),
        ("gray cat", "grey cat"),
        ("flat tire", "flat tyre"),
        ("pajamas", "pyjamas"),
        ("airplane", "aeroplanes"),
        ("doughnut", "donuts"),
        ("jewellery", "jewelry"),
        ("knife block", "knife blocks"),
        ("pitcher 's mound", "pitchers mound"),
    ],
)
def test_variants_by_rule(phrase: str, variant: str) -> None:
    assert variant in surface_forms.variants(phrase)


def test_an_open_compound_is_not_made_where_it_means_something_else() -> None:
    assert "green house" not in surface_forms.variants("greenhouse")
    assert "hot dog" not in surface_forms.variants("dog")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Teddy-Bear", ["a", "teddy", "bear"]),
        ("the dog's bone", ["the", "dog", "'s", "bone"]),
        ("the dog’s bone", ["the", "dog", "'s", "bone"]),
        ("the dogs' bones", ["the", "dogs", "bones"]),
        ("5 o'clock", ["5", "o'clock"]),
        ("ice\ncream\tcone", ["ice", "cream", "cone"]),
        ("hot, dog", ["hot", ",", "dog"]),
        ("salt & pepper", ["salt", "and", "pepper"]),
        ("jalapeño Café", ["jalapeno", "cafe"]),
        ("ｃａｔ", ["cat"]),
        ("ca\u00adt d\u200bog", ["cat", "dog"]),
        ("traffic_light", ["traffic", "light"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert surface_forms.words(text) == words


@settings(deadline=None)
@given(st.text())
def test_a_form_is_its_own_form(text: str) -> None:
    once = surface_forms.form(text)
    assert surface_forms.form(once) == once


@pytest.mark.parametrize(
    ("name", "reading", "strength"),
    [
        ("bow (weapon)", "bow", surface_forms.WITHOUT_NOTE),
        ("barrel/bucket", "barrel", surface_forms.ALTERNATIVE),
        ("barrel/bucket", "bucket", surface_forms.ALTERNATIVE),
        ("cutting/chopping board", "cutting board", surface_forms.ALTERNATIVE),
        ("cutting/chopping board", "chopping board", surface_forms.ALTERNATIVE),
        ("cosmetics brush/eyeliner pencil", "cosmetics brush", surface_forms.ALTERNATIVE),
        ("monitor (computer equipment) computer monitor", "computer monitor", surface_forms.WITHOUT_NOTE),
    ],
)
def test_readings_of_written_names(name: str, reading: str, strength: int) -> None:
    assert (reading, strength) in list(surface_forms.readings(name))
