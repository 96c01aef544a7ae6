"""Label maps: what counts as a label, for any vocabulary."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cocu.curation.labels import NO_LABEL, LabelMap
from cocu.curation.vocabulary import Vocabulary


def _labels_of(label_map: LabelMap, vocabulary: Vocabulary, labels):
    labels_V = label_map.labels_of_concepts(
        labels=labels, concept_count=len(vocabulary), find=vocabulary.find
    )
    return {vocabulary.names[c]: labels[label] for c, label in enumerate(labels_V) if label != NO_LABEL}


def test_a_label_accepts_its_name_its_surface_forms_and_its_kinds():
    vocabulary = Vocabulary.from_lines("man\nwoman\npotted plant\nsofa\ncarpet\ncar\n", name="own")
    labels = ["couch", "person", "car", "potted plants"]
    expected = {
        "man": "person",
        "woman": "person",
        "sofa": "couch",
        "car": "car",
        "potted plant": "potted plants",
    }
    assert _labels_of(LabelMap.shipped("coco"), vocabulary, labels) == expected


def test_without_a_map_a_label_is_its_name():
    vocabulary = Vocabulary.from_lines("man\ndog\n", name="own")
    assert _labels_of(LabelMap.by_name(), vocabulary, ["person", "dogs"]) == {"dog": "dogs"}


def test_the_name_of_a_label_is_never_taken_by_another():
    label_map = LabelMap(name="own", version="1", accepted={"animal": ("dog", "cat")})
    vocabulary = Vocabulary.from_lines("dog\ncat\n", name="own")
    assert _labels_of(label_map, vocabulary, ["animal", "dog"]) == {"dog": "dog", "cat": "animal"}


def test_the_shipped_map_names_the_eighty_categories_and_no_phrase_twice():
    label_map = LabelMap.shipped("coco")
    assert len(label_map.accepted) == 80
    assert "man" in label_map.accepted["person"]
    assert label_map.version


def test_refuses_what_is_not_a_map():
    with pytest.raises(ValueError, match="accepted by both"):
        LabelMap(name="own", version="1", accepted={"cup": ("mug",), "glass": ("mug",)})
    with pytest.raises(ValueError, match="there are coco"):
        LabelMap.shipped("nowhere")
    with pytest.raises(ValueError, match="JSON"):
        LabelMap.from_json("{")
    with pytest.raises(ValueError, match="accepted"):
        LabelMap.from_json("[]")
    with pytest.raises(ValueError, match="list of texts"):
        LabelMap.from_json(json.dumps({"accepted": {"cup": "mug"}}))
    with pytest.raises(ValueError, match="once"):
        LabelMap.by_name().labels_of_concepts(labels=["a", "a"], concept_count=1, find=lambda _: None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"accepted": {"cup": ["mug"], "cup": ["glass"]}}', "'cup' is there twice"),
        ('{"accepted": {"cup": []}, "weight": NaN}', "NaN is no number"),
        ('{"accepted": ' + "[" * 200_000, "nested too deeply"),
    ],
    ids=["repeated", "NaN", "deep"],
)
def test_refuses_what_would_lose_something(text, message):
    with pytest.raises(ValueError, match=message):
        LabelMap.from_json(text)


def test_reads_a_map():
    text = json.dumps({"name": "own", "version": 2**70, "accepted": {"cup": ["mug"]}})
    label_map = LabelMap.from_json("\ufeff" + text)
    assert (label_map.version, label_map.accepted) == (str(2**70), {"cup": ("mug",)})
    labels_V = label_map.labels_of_concepts(labels=["cup"], concept_count=2, find={"mug": 1}.get)
    np.testing.assert_array_equal(labels_V, [NO_LABEL, 0])
