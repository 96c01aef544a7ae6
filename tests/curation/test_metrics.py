"""Archive quality: the check table of the reference, a naive implementation, and the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation.labels import NO_LABEL
from cocu.curation.metrics import RaggedIds, compare, evaluate, interval

CONCEPTS = ["dog", "man", "woman", "grass", "cat", "kitten", "sofa", "sky"]
LABELS = ["dog", "man", "grass", "cat", "sofa", "woman"]
LABEL_OF = {
    "dog": "dog",
    "man": "man",
    "woman": "woman",
    "grass": "grass",
    "cat": "cat",
    "kitten": "cat",
    "sofa": "sofa",
}
LABELS_V = np.array(
    [LABELS.index(LABEL_OF[c]) if c in LABEL_OF else NO_LABEL for c in CONCEPTS], dtype=np.int32
)


def _concepts(*lists: str) -> RaggedIds:
    return RaggedIds.from_lists([[CONCEPTS.index(word) for word in words.split()] for words in lists])


def _labels(*lists: str) -> RaggedIds:
    return RaggedIds.from_lists([[LABELS.index(word) for word in words.split()] for words in lists])


def _evaluate(*archives: str):
    return evaluate(
        archives=_concepts(*archives),
        captions=_concepts("man dog", "cat"),
        labels=_labels("dog man grass", "cat sofa"),
        labels_V=LABELS_V,
        depths=(3,),
    )


@pytest.mark.parametrize(
    ("order", "ap", "ndcg", "mean_ap", "mean_ndcg"),
    [
        ("dog man woman grass", 0.916667, 0.765361, 0.708333, 0.689254),
        ("dog woman man grass", 0.805556, 0.703918, 0.652778, 0.658533),
    ],
)
def test_the_check_table_of_the_reference(order, ap, ndcg, mean_ap, mean_ndcg):
    quality = _evaluate(order, "cat kitten")
    table = {
        "precision@3": (0.666667, 0.333333, 0.5),
        "recall@3": (0.666667, 0.5, 0.583333),
        "recall": (1.0, 0.5, 0.75),
        "ap": (ap, 0.5, mean_ap),
        "ndcg@3": (ndcg, 0.613147, mean_ndcg),
        "caption recall": (0.666667, 0.5, 0.583333),
        "missing recall@3": (0.0, 0.0, 0.0),
        "missing recall": (1.0, 0.0, 0.5),
    }
    for metric, (first, second, mean) in table.items():
        np.testing.assert_allclose(quality.per_image[metric], [first, second], atol=1e-6, err_msg=metric)
        assert quality.mean(metric) == pytest.approx(mean, abs=1e-6), metric


def test_judged_metrics_drop_concepts_that_are_no_label_and_added_ones_what_the_caption_names():
    quality = _evaluate("sky dog man woman grass", "cat kitten")
    assert quality.per_image["ap"][0] == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    assert quality.per_image["ap judged"][0] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert quality.per_image["missing ap"][0] == pytest.approx(1 / 5)
    assert quality.per_image["missing ap judged"][0] == pytest.approx(1 / 4)
    # Among what the caption does not name, "woman" comes first and "grass" second.
    assert quality.per_image["added ap judged"][0] == pytest.approx(1 / 2)


def test_images_without_labels_or_without_missing_labels_are_left_out():
    quality = evaluate(
        archives=_concepts("dog", "dog", ""),
        captions=_concepts("dog", "dog", "dog"),
        labels=_labels("", "dog", "man"),
        labels_V=LABELS_V,
        depths=(1,),
    )
    assert quality.images("ap") == 2
    assert quality.mean("ap") == pytest.approx(0.5)
    assert quality.images("missing recall") == 1
    assert quality.mean("missing recall") == 0.0
    assert quality.empty_archives == pytest.approx(1 / 3)


def test_no_image_at_all():
    quality = evaluate(archives=_concepts(), captions=_concepts(), labels=_labels(), labels_V=LABELS_V)
    assert math.isnan(quality.mean("ap"))
    with pytest.raises(ValueError, match="no image"):
        interval(quality.per_image["ap"])


def _naive(archive, truth, depth):
    """The definitions, read aloud: one image, one rank at a time."""
    credited: set[int] = set()
    relevant = []
    for concept in archive:
        label = int(LABELS_V[concept])
        relevant.append(label in truth and label not in credited)
        credited.add(label)
    hits = np.array(relevant, dtype=float)
    ranks = np.arange(1, len(hits) + 1)
    ap = sum(hits[r] * hits[: r + 1].sum() / (r + 1) for r in range(len(hits))) / len(truth)
    gain = sum(hits[r] / math.log2(r + 2) for r in range(min(depth, len(hits))))
    ideal = sum(1 / math.log2(r + 2) for r in range(min(depth, len(truth))))
    return {
        "recall": hits.sum() / len(truth),
        "ap": ap,
        f"recall@{depth}": hits[ranks <= depth].sum() / len(truth),
        f"precision@{depth}": hits[ranks <= depth].sum() / depth,
        f"ndcg@{depth}": gain / ideal,
    }


@settings(deadline=None)
@given(
    images=st.lists(
        st.tuples(
            st.lists(st.integers(0, len(CONCEPTS) - 1), unique=True, max_size=8),
            st.sets(st.integers(0, len(LABELS) - 1), min_size=1),
        ),
        min_size=1,
        max_size=6,
    ),
    depth=st.integers(1, 9),
)
def test_equals_the_definitions_one_image_at_a_time(images, depth):
    archives, truths = zip(*images, strict=True)
    quality = evaluate(
        archives=RaggedIds.from_lists(archives),
        captions=RaggedIds.from_lists([[] for _ in images]),
        labels=RaggedIds.from_lists([sorted(truth) for truth in truths]),
        labels_V=LABELS_V,
        depths=(depth,),
    )
    for image, (archive, truth) in enumerate(images):
        for metric, value in _naive(archive, truth, depth).items():
            assert quality.per_image[metric][image] == pytest.approx(value), metric
            # Without a caption every label is missing.
            assert quality.per_image[f"missing {metric}"][image] == pytest.approx(value), metric


def test_bootstrap_covers_the_mean_of_the_population():
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(100):
        result = interval(generator.binomial(1, 0.3, size=80).astype(float), draws=300, seed=trial)
        covered += result.low <= 0.3 <= result.high
    assert 85 <= covered <= 100


def test_a_paired_difference_is_narrower_than_the_two_apart():
    better, worse = (
        _evaluate("dog man woman grass", "cat kitten"),
        _evaluate("dog woman man grass", "cat kitten"),
    )
    difference = compare(worse, better, "ap")
    assert difference.mean == pytest.approx(0.708333 - 0.652778, abs=1e-6)
    assert difference.low >= 0.0
    assert difference == compare(worse, better, "ap")


def test_refuses_lists_that_do_not_fit():
    with pytest.raises(ValueError, match="one each per image"):
        evaluate(archives=_concepts("dog"), captions=_concepts(), labels=_labels("dog"), labels_V=LABELS_V)
    with pytest.raises(ValueError, match="same label twice"):
        evaluate(
            archives=_concepts("dog"), captions=_concepts(""), labels=_labels("dog dog"), labels_V=LABELS_V
        )
    with pytest.raises(ValueError, match="at least 1"):
        evaluate(archives=_concepts(), captions=_concepts(), labels=_labels(), labels_V=LABELS_V, depths=(0,))
    with pytest.raises(ValueError, match="rise"):
        RaggedIds(offsets_B1=np.array([0, 2]), ids_M=np.array([1], dtype=np.int32))
    with pytest.raises(ValueError, match="same images"):
        compare(
            _evaluate("dog", "cat"),
            evaluate(
                archives=_concepts("dog"),
                captions=_concepts(""),
                labels=_labels("dog"),
                labels_V=LABELS_V,
                depths=(3,),
            ),
            "ap",
        )
