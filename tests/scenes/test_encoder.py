"""The shipped encoder, on scenes that it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

import cocu_scenes
from cocu.encoders import InProcessEncoder, open_encoder

COUNT = 400
LARGEST = 12e6


@pytest.fixture(scope="module")
def bundle(repository: Path) -> Path:
    return repository / "examples" / "encoders" / "scenes"


@pytest.fixture(scope="module")
def encoder(bundle: Path) -> InProcessEncoder:
    return open_encoder(bundle, threads=1)


@pytest.fixture(scope="module")
def held_out() -> list[cocu_scenes.Scene]:
    """Neither the committed scenes (seed 0) nor those of the training (100)."""
    return list(cocu_scenes.generate(3, 0, COUNT))


@pytest.fixture(scope="module")
def images(encoder: InProcessEncoder, held_out: list[cocu_scenes.Scene]) -> NDArray[np.float32]:
    return encoder.embed_images(np.stack([encoder.preprocess(scene.image) for scene in held_out]))


def truth(held_out: list[cocu_scenes.Scene], names: list[str]) -> NDArray[np.bool_]:
    return np.array([[name in scene.labels for name in names] for scene in held_out])


def average_precision(truth_NV: NDArray[np.bool_], scores_NV: NDArray[np.float32]) -> float:
    seen_V = truth_NV.any(axis=0)
    return float(average_precision_score(truth_NV[:, seen_V], scores_NV[:, seen_V]))


def test_bundle__is_small(bundle: Path) -> None:
    assert sum(path.stat().st_size for path in bundle.iterdir()) <= LARGEST


@pytest.mark.parametrize("template", ["a photo of a {}", "{}"])
def test_encoder__finds_objects_from_prompts_and_bare_names(
    encoder: InProcessEncoder, held_out: list[cocu_scenes.Scene], images: NDArray[np.float32], template: str
) -> None:
    names = [thing.name for thing in cocu_scenes.objects()]
    scores_NV = images @ encoder.embed_texts([template.format(name) for name in names]).T
    truth_NV = truth(held_out, names)
    assert truth_NV[np.arange(COUNT), scores_NV.argmax(axis=1)].mean() >= 0.8
    assert average_precision(truth_NV, scores_NV) >= 0.5


def test_encoder__knows_backgrounds(
    encoder: InProcessEncoder, held_out: list[cocu_scenes.Scene], images: NDArray[np.float32]
) -> None:
    names = [background.name for background in cocu_scenes.backgrounds()]
    scores_NV = images @ encoder.embed_texts([f"a photo of a {name}" for name in names]).T
    assert average_precision(truth(held_out, names), scores_NV) >= 0.6


def test_encoder__plurals_and_synonyms_are_nearest_to_their_name(encoder: InProcessEncoder) -> None:
    """“sofas” is a couch, and a “hot dog” no dog."""
    things = cocu_scenes.objects()
    forms = [
        (form, position) for position, thing in enumerate(things) for pair in thing.forms for form in pair
    ]
    names_VD = encoder.embed_texts([f"a photo of a {thing.name}" for thing in things])
    forms_FD = encoder.embed_texts([form for form, _ in forms])
    right_F = (forms_FD @ names_VD.T).argmax(axis=1) == np.array([position for _, position in forms])
    assert right_F.mean() >= 0.97


def test_encoder__similar_images_share_what_they_show(
    held_out: list[cocu_scenes.Scene], images: NDArray[np.float32]
) -> None:
    similarity_NN = images @ images.T
    np.fill_diagonal(similarity_NN, -np.inf)
    labels = [set(scene.object_labels) for scene in held_out]
    near = [len(labels[i] & labels[j]) for i in range(COUNT) for j in np.argsort(-similarity_NN[i])[:4]]
    any_two = [len(labels[i] & labels[(i + 7) % COUNT]) for i in range(COUNT)]
    assert np.mean(near) > 4 * np.mean(any_two)
