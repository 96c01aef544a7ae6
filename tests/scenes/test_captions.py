"""Captions of scenes, read with the vocabulary that curation reads them with."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import cocu_scenes
from cocu.curation.vocabulary import Vocabulary

COUNT = 500


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.shipped()


@pytest.fixture(scope="module")
def generated() -> list[cocu_scenes.Scene]:
    return list(cocu_scenes.generate(17, 0, COUNT))


def test_concepts__the_shipped_vocabulary_knows_every_name_and_form(vocabulary: Vocabulary) -> None:
    for thing in cocu_scenes.objects():
        concept = vocabulary.find(thing.name)
        assert concept is not None, thing.name
        for form in (form for pair in thing.forms for form in pair):
            assert vocabulary.match(f"this is the {form} here") == [concept], form
    for background in cocu_scenes.backgrounds():
        concept = vocabulary.find(background.name)
        assert all(vocabulary.match(phrase) == [concept] for phrase in background.phrases)


def test_concepts__names_are_different_concepts(vocabulary: Vocabulary) -> None:
    concepts = [vocabulary.find(name) for name in cocu_scenes.class_names()]
    assert len(set(concepts)) == len(concepts)


def test_captions__name_what_is_there_and_nothing_else(
    vocabulary: Vocabulary, generated: list[cocu_scenes.Scene]
) -> None:
    for scene in generated:
        assert set(scene.named) <= set(scene.labels)
        expected = sorted({concept for name in scene.named if (concept := vocabulary.find(name)) is not None})
        assert vocabulary.match(scene.caption) == expected, scene.caption


def test_captions__leave_most_out(generated: list[cocu_scenes.Scene]) -> None:
    background_names = {background.name for background in cocu_scenes.backgrounds()}
    objects_named = Counter(len(set(scene.named) - background_names) for scene in generated)
    assert set(objects_named) == {1, 2}
    told = [len(set(scene.named) & set(scene.labels)) / len(scene.labels) for scene in generated]
    assert 0.2 < np.mean(told) < 0.4
    assert 0.2 < np.mean([bool(set(scene.named) & background_names) for scene in generated]) < 0.5


def test_captions__prefer_what_is_large_and_central(generated: list[cocu_scenes.Scene]) -> None:
    def area(thing: cocu_scenes.Placed) -> int:
        left, top, right, bottom = thing.box
        return (right - left) * (bottom - top)

    named = [area(thing) for scene in generated for thing in scene.placed if thing.name in scene.named]
    unnamed = [area(thing) for scene in generated for thing in scene.placed if thing.name not in scene.named]
    assert np.mean(named) > 1.15 * np.mean(unnamed)


def test_captions__are_varied(generated: list[cocu_scenes.Scene]) -> None:
    assert len({scene.caption for scene in generated}) > 0.9 * COUNT
    first_words = Counter(scene.caption.split()[0].lower() for scene in generated)
    assert len(first_words) > 15
    assert first_words.most_common(1)[0][1] < 0.3 * COUNT
