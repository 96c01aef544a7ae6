"""Vocabularies: who owns a form, what a caption names, what is left out, what is read and written."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation import class_names, vocabulary_files
from cocu.curation.vocabulary import Vocabulary, overlap

OWN = """
# things
car = automobile, motor car
dog = hound
hot dog
man
woman
glass
glasses = spectacles
teddy bear
couple
orange
stand = booth
grey cat
"""


@pytest.fixture(scope="module")
def own() -> Vocabulary:
    return Vocabulary.from_lines(OWN, name="own")


@pytest.fixture(scope="module")
def shipped() -> Vocabulary:
    return Vocabulary.shipped()


def named(vocabulary: Vocabulary, caption: str) -> list[str]:
    return [vocabulary.names[concept] for concept in vocabulary.match(caption)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a car on the carpet", ["car"]),
        ("two hot dogs", ["hot dog"]),
        ("a hotdog and a dog", ["dog", "hot dog"]),
        ("The DOG'S bowl", ["dog"]),
        ("the dogs’ bowl", ["dog"]),
        ("a hot, dog day", ["dog"]),
        ("hot\ndog", ["hot dog"]),
        ("a Teddy-Bear, a teddybear, a teddy_bear", ["teddy bear"]),
        ("women and men", ["man", "woman"]),
        ("a human womanly mandate", []),
        ("a glass", ["glass"]),
        ("glasses", ["glasses"]),
        ("dog dog dog", ["dog"]),
        ("gray cats", ["grey cat"]),
        ("an automobile with two motor cars", ["car"]),
        ("dog\x00dog \ud800 car \U0001f697", ["car", "dog"]),
        ("<b>dog</b>&nbsp;car", ["car", "dog"]),
        ("", []),
        ("!!!", []),
    ],
)
def test_a_caption_names_the_longest_forms_on_word_boundaries(
    own: Vocabulary, caption: str, expected: list[str]
) -> None:
    assert named(own, caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a couple of dogs", ["dog"]),
        ("a couple kissing", ["couple"]),
        ("an orange car", ["car"]),
        ("an orange on a car", ["car", "orange"]),
        ("a dog stands by a car", ["car", "dog"]),
        ("two dogs stand by a car", ["car", "dog"]),
        ("a hot dog stand", ["hot dog", "stand"]),
        ("they stand there", []),
        ("stand", ["stand"]),
    ],
)
def test_a_word_that_is_no_noun_in_its_place_names_nothing(
    own: Vocabulary, caption: str, expected: list[str]
) -> None:
    assert named(own, caption) == expected


def test_possessives_inside_names() -> None:
    vocabulary = Vocabulary.from_lines("pitcher's mound\nbaby\nbaby's breath", name="own")
    assert named(vocabulary, "the pitchers mound, the pitcher’s mound") == ["pitcher's mound"]
    assert named(vocabulary, "baby's breath") == ["baby's breath"]
    assert named(vocabulary, "the baby's hat") == ["baby"]


def test_a_form_belongs_to_the_strongest_claim() -> None:
    vocabulary = Vocabulary.from_lines(
        "spectacles = glasses\nglass\ntaxi = cab (car), auto\ncar/auto", name="own"
    )
    assert named(vocabulary, "glasses") == ["spectacles"]
    assert named(vocabulary, "an auto") == ["taxi"]
    assert named(vocabulary, "a cab") == ["taxi"]


def test_sense_notes_stay_in_the_name_and_leave_the_form_unless_ambiguous() -> None:
    vocabulary = Vocabulary.from_lines("bow (weapon)\nbow (decorative ribbons)\nbat (animal)", name="own")
    assert vocabulary.names == ("bat (animal)", "bow (decorative ribbons)", "bow (weapon)")
    assert named(vocabulary, "two bats and a bow") == ["bat (animal)"]
    assert vocabulary.prompts()[0] == ["a photo of a bat (animal)"]
    plain = Vocabulary.from_lines("bow (weapon)\nbow (decorative ribbons)\nbow", name="own")
    assert named(plain, "bows") == ["bow"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog\ncat = kitty\ndog", r"line 3: 'dog' is stated for the concept 'dog' and for 'dog' \(line 1\)"),
        ("cat = kitty\n\nkitten = kitty", r"line 3: 'kitty' is stated .* 'kitten' and for 'cat' \(line 1\)"),
        ("dog\n = hound", "line 2: there is no concept before the '='"),
        ("dog = hound,, pup", "line 1: an empty synonym of 'dog'"),
        ("dog =", "line 1: an empty synonym of 'dog'"),
        ("dog\n???", r"line 2: the concept '\?\?\?' has no letter or digit"),
        ("bow-tie\nBow-Tie", "line 2: 'bow tie' is stated"),
    ],
)
def test_lines_that_are_wrong_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_lines(text, name="own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ('{\n"concepts": [,]}', "line 2: not JSON"),
        ("[]", 'object with "concepts"'),
        ('{"concepts": 3}', "concepts: must be a list"),
        ('{"concepts": {"animals": ["dog", 4]}}', r"concepts.animals\[1\]: must be a text"),
        ('{"concepts": [{"name": "dog", "synonyms": "hound"}]}', r"concepts\[0\].synonyms: must be a list"),
        ('{"concepts": ["dog"], "templates": ["a photo"]}', "must contain {} exactly once"),
        ('{"concepts": ["d\\ud800g"]}', "cannot be shown"),
        ('{"concepts": ["dog"], "name": ""}', "is empty"),
        ('{"concepts": {"animals": {"pets": ["dog"]}}}', "concepts.animals: must be a list"),
        pytest.param('{"concepts": ' + "[" * 200_000, "nested too deeply", id="nested"),
        ('{"concepts": {"pets": ["dog"], "pets": ["cat"]}}', "'pets' is there twice"),
        ('{"concepts": ["dog"], "version": NaN}', "NaN is no number"),
        ('{"concepts": ["dog"], "templates": []}', "at least one prompt template"),
        ('{"format": "cocu vocabulary 1", "concepts": [{"name": "dog"}]}', r"concepts\[0\].forms: must be"),
        (
            '{"format": "cocu vocabulary 1", "concepts": '
            '[{"name": "b", "forms": []}, {"name": "a", "forms": []}]}',
            "unique and sorted",
        ),
        (
            '{"format": "cocu vocabulary 1", "concepts": '
            '[{"name": "a", "forms": ["x"]}, {"name": "b", "forms": ["x"]}]}',
            "'x' is a form of 'a' and of 'b'",
        ),
    ],
)
def test_json_that_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_json(text)


def test_texts_of_files(own: Vocabulary) -> None:
    assert Vocabulary.from_text("\ufeff" + OWN.replace("\n", "\r\n"), file_name="own.txt") == own
    assert Vocabulary.from_text("\ufeff" + own.to_json(), file_name="own.JSON") == own
    with pytest.raises(ValueError, match=r"a \.txt file"):
        Vocabulary.from_text("dog", file_name="own.csv")


def test_names_lie_in_order_and_find_finds_every_form(own: Vocabulary) -> None:
    assert list(own.names) == sorted(own.names)
    for position, concept in enumerate(own.concepts):
        assert own.find(concept.name) == position
        assert all(own.find(form.upper()) == position for form in concept.forms)
    assert own.find("carpet") is None
    assert own.find("") is None


def test_prompts_fill_every_template(own: Vocabulary) -> None:
    two = dataclasses.replace(own, templates=("a {}", "many {}s, {{}}".replace("{{}}", "really")))
    assert two.prompts()[two.find("dog") or 0] == ["a dog", "many dogs, really"]
    assert two.hash != own.hash


def test_match_captions_is_match_for_each(own: Vocabulary) -> None:
    captions = ["a dog in a car", "", "nothing", "men, women, hot dogs"]
    offsets, concepts = own.match_captions(captions)
    assert offsets.dtype == np.int64
    assert concepts.dtype == np.int32
    assert [list(concepts[offsets[at] : offsets[at + 1]]) for at in range(4)] == [
        own.match(text) for text in captions
    ]
    offsets, concepts = own.match_captions([])
    assert offsets.tolist() == [0]
    assert concepts.size == 0


def test_a_megabyte_of_anything_is_matched(own: Vocabulary) -> None:
    assert named(own, "dog " * 250_000) == ["dog"]
    assert named(own, "hot " * 250_000 + "dog") == ["hot dog"]
    assert named(own, "x" * 1_000_000 + " dog") == ["dog"]
    assert named(own, "'" * 500_000 + "é" * 500_000 + " dog") == ["dog"]


@settings(deadline=None)
@given(st.text())
def test_any_text_is_matched(text: str) -> None:
    vocabulary = Vocabulary.from_lines("dog\nhot dog", name="own")
    concepts = vocabulary.match(text)
    assert concepts == sorted(set(concepts))
    assert vocabulary.find("dog") in vocabulary.match(text + "\n\n. dog")


WORDS = st.lists(
    st.sampled_from(["hot", "dog", "car", "carpet", "teddy", "bear", ",", "grey", "cat"]), max_size=12
)


@settings(deadline=None)
@given(WORDS)
def test_matching_equals_a_plain_search_for_the_longest_form(tokens: list[str]) -> None:
    vocabulary = Vocabulary.from_lines(
        "hot dog\ndog\ncar\nteddy bear\nbear\ngrey cat\ncat\nhot dog car", name="own"
    )
    forms = {form: concept.name for concept in vocabulary.concepts for form in concept.forms}
    expected, at = set(), 0
    while at < len(tokens):
        ends = [end for end in range(len(tokens), at, -1) if " ".join(tokens[at:end]) in forms]
        if ends:
            expected.add(forms[" ".join(tokens[at : ends[0]])])
        at = ends[0] if ends else at + 1
    assert set(named(vocabulary, " ".join(tokens))) == expected


NAMES = st.lists(
    st.text(
        st.characters(categories=["Ll", "Lu", "Nd", "Zs", "Pd"], max_codepoint=0x17F), min_size=1, max_size=12
    ),
    max_size=8,
)


@settings(deadline=None)
@given(NAMES)
def test_what_is_built_survives_json_and_does_not_depend_on_order(names: list[str]) -> None:
    lines = [" ".join(name.split()) for name in names]
    try:
        vocabulary = Vocabulary.from_lines("\n".join(lines), name="own")
    except ValueError:
        return
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    assert Vocabulary.from_json(vocabulary.to_json()).hash == vocabulary.hash
    assert Vocabulary.from_lines("\n".join(reversed(lines)), name="own").hash == vocabulary.hash
    assert all(
        vocabulary.match(concept.forms[0]) == [at]
        for at, concept in enumerate(vocabulary.concepts)
        if concept.forms
    )


def test_the_hash_is_the_same_in_every_process(shipped: Vocabulary) -> None:
    program = "from cocu.curation.vocabulary import Vocabulary; print(Vocabulary.shipped().hash)"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == shipped.hash


def test_without_leaves_out_what_the_phrases_find(own: Vocabulary) -> None:
    smaller = own.without(["Automobiles", "no such thing"])
    assert len(smaller) == len(own) - 1
    assert named(smaller, "a car and a dog") == ["dog"]
    assert own.without(["no such thing"]) is own


def test_the_shipped_vocabulary_is_large_lower_case_and_free_of_conflicts(shipped: Vocabulary) -> None:
    assert len(shipped) >= 2000
    assert all(name == name.lower().strip() and "(" not in name for name in shipped.names)
    assert all(concept.forms for concept in shipped.concepts)
    separate = {shipped.find(name) for name in ("person", "man", "woman", "boy", "girl", "child", "baby")}
    assert len(separate) == 7
    for word, other in [
        ("tv", "television set"),
        ("sofa", "couch"),
        ("plane", "aeroplane"),
        ("motorbike", "motorcycle"),
    ]:
        assert shipped.find(word) == shipped.find(other) is not None
    for debris in ["clothe", "pant", "sunglass", "scissor", "idea", "way", "day"]:
        assert shipped.find(debris) is None


def test_every_synonym_of_the_shipped_vocabulary_finds_its_concept(shipped: Vocabulary) -> None:
    file = resources.files("cocu.curation") / "vocabularies" / "visual.json"
    document = vocabulary_files.parse_json(file.read_text(encoding="utf-8"))
    assert document.entries is not None
    for entry in document.entries:
        assert {shipped.find(synonym) for synonym in entry.synonyms} <= {shipped.find(entry.name)}, entry


@pytest.mark.parametrize(
    ("benchmark", "total"),
    [
        ("voc", 20),
        ("context", 59),
        ("coco", 80),
        ("coco-object", 80),
        ("ade20k", 150),
        ("cityscapes", 19),
        ("coco-stuff", 171),
        ("lvis", 1203),
    ],
)
def test_the_shipped_vocabulary_covers_every_class_of_a_benchmark(
    shipped: Vocabulary, benchmark: str, total: int
) -> None:
    report = overlap(shipped, benchmark)
    assert report.missing == ()
    assert report.covered == report.total == total


def test_a_benchmark_can_be_left_out(shipped: Vocabulary) -> None:
    smaller = shipped.without_benchmarks(["voc", "coco"])
    assert overlap(smaller, "voc").covered == overlap(smaller, "coco").covered == 0
    assert 0 < len(smaller) < len(shipped)
    with pytest.raises(ValueError, match="no benchmark 'imagenet'; there are ade20k, "):
        shipped.without_benchmarks(["imagenet"])


def test_overlap_with_class_names_of_the_caller(own: Vocabulary) -> None:
    report = overlap(own, ["car;auto", "dog-other", "cat-grey", "teddy_bear ", "man (person)", "zebra"])
    assert (report.total, report.covered, report.missing) == (6, 5, ("zebra",))


@pytest.mark.parametrize(
    ("class_name", "phrase"),
    [
        ("sky-other", "sky"),
        ("door-stuff", "door"),
        ("wall-concrete", "concrete wall"),
        ("windowpane;window", "window"),
        ("bed ", "bed"),
        ("football (American)", "American football"),
    ],
)
def test_readings_of_class_names(class_name: str, phrase: str) -> None:
    assert phrase in [" ".join(reading.split()) for reading in class_names.phrases(class_name)]


@pytest.mark.photographs
def test_the_names_of_the_photo_encoder_load_and_match(shared_folder: Path) -> None:
    file = shared_folder / "encoders" / "photo" / "concepts.txt"
    vocabulary = Vocabulary.from_lines(file.read_text(encoding="utf-8"), name="concepts")
    assert len(vocabulary) == 1612
    assert named(vocabulary, "A woman on a motor scooter beside two buses, with a bowl of oranges") != []
    assert vocabulary.find("parasails") == vocabulary.find("parasail (sports)") is not None


@pytest.mark.photographs
def test_the_shipped_vocabulary_covers_the_class_names_as_published(
    shipped: Vocabulary, shared_folder: Path
) -> None:
    published = json.loads((shared_folder / "vocabularies" / "class_names.json").read_text())
    for benchmark in [
        "pascal_voc_21",
        "pascal_context_60_with_background",
        "coco_80",
        "ade20k_150",
        "cityscapes_19",
    ]:
        names = [name for name in published[benchmark] if name != "background"]
        assert overlap(shipped, names).missing == (), benchmark
    missing = [
        c["name"] for c in published["lvis-1203"] if shipped.find_class(c["name"], c["synonyms"]) is None
    ]
    assert missing == []
