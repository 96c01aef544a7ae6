"""Scenes are pure functions of seed and number, and their truth is complete."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

import cocu_scenes
from cocu_scenes.placement import MAX_THINGS, MIN_THINGS, MIN_VISIBLE

COUNT = 200


@pytest.fixture(scope="module")
def generated() -> list[cocu_scenes.Scene]:
    return list(cocu_scenes.generate(11, 0, COUNT))


def same(first: cocu_scenes.Scene, second: cocu_scenes.Scene) -> bool:
    return (
        first.key == second.key
        and first.image.tobytes() == second.image.tobytes()
        and first.caption == second.caption
        and first.metadata() == second.metadata()
        and bool((first.mask == second.mask).all())
    )


def test_generate__is_a_pure_function_of_seed_and_number(generated: list[cocu_scenes.Scene]) -> None:
    assert all(
        same(first, second)
        for first, second in zip(cocu_scenes.generate(11, 40, 20), generated[40:60], strict=True)
    )
    assert same(cocu_scenes.generate_scene(11, 7), generated[7])
    assert not same(cocu_scenes.generate_scene(12, 7), generated[7])


def test_generate__is_the_same_in_another_process(generated: list[cocu_scenes.Scene]) -> None:
    program = (
        "import hashlib, cocu_scenes; s = cocu_scenes.generate_scene(11, 3);"
        "print(hashlib.sha256(s.image.tobytes() + s.mask.tobytes() + s.caption.encode()).hexdigest())"
    )
    scene = generated[3]
    expected = hashlib.sha256(
        scene.image.tobytes() + scene.mask.tobytes() + scene.caption.encode()
    ).hexdigest()
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == expected


@pytest.mark.parametrize("arguments", [(-1, 0, 1), (0, -1, 1), (0, 0, -1)])
def test_generate__refuses_negative_numbers(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        cocu_scenes.generate(*arguments)


def test_scene__mask_and_labels_and_objects_tell_the_same(generated: list[cocu_scenes.Scene]) -> None:
    names = cocu_scenes.class_names()
    background_names = {background.name for background in cocu_scenes.backgrounds()}
    for scene in generated:
        assert scene.mask.shape == (scene.image.height, scene.image.width)
        in_mask = {names[value] for value in np.unique(scene.mask)}
        assert in_mask == set(scene.labels)
        assert (
            in_mask - background_names == set(scene.object_labels) == {thing.name for thing in scene.placed}
        )
        assert in_mask & background_names


def test_scene__boxes_hold_what_is_visible_of_each_object(generated: list[cocu_scenes.Scene]) -> None:
    names = cocu_scenes.class_names()
    for scene in generated[:100]:
        covered = np.zeros(scene.mask.shape, dtype=bool)
        for thing in scene.placed:
            left, top, right, bottom = thing.box
            assert (scene.mask[top:bottom, left:right] == names.index(thing.name)).any()
            covered[top:bottom, left:right] = True
        assert (scene.mask[~covered] < len(cocu_scenes.backgrounds())).all()


def test_scene__objects_are_well_visible_and_neither_few_nor_many(generated: list[cocu_scenes.Scene]) -> None:
    for scene in generated:
        assert all(MIN_VISIBLE <= thing.visible <= 1.0 for thing in scene.placed)
        assert MIN_THINGS <= len(scene.object_labels) <= len(scene.placed) <= MAX_THINGS


def test_scene__objects_are_drawn_where_the_mask_says(generated: list[cocu_scenes.Scene]) -> None:
    """An image differs from the empty setting nearly only under the objects and their shadows."""
    differing = Counter[bool]()
    for scene in generated[:40]:
        pixels = np.asarray(scene.image, dtype=float)
        for thing in scene.placed:
            inside = scene.mask == cocu_scenes.class_names().index(thing.name)
            left, top, right, bottom = thing.box
            ring = np.zeros_like(inside)
            ring[max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4] = True
            ring &= scene.mask < len(cocu_scenes.backgrounds())
            if ring.sum() > 20:
                differing[
                    bool(np.abs(pixels[inside].mean(axis=0) - pixels[ring].mean(axis=0)).max() > 6)
                ] += 1
    assert differing[True] > 0.9 * differing.total()


@pytest.mark.slow
def test_generate__uses_every_object_and_background() -> None:
    seen: set[str] = set()
    for scene in cocu_scenes.generate(13, 0, 700):
        seen.update(scene.labels)
    assert seen == set(cocu_scenes.class_names())


def test_generate__objects_keep_company_but_not_always(generated: list[cocu_scenes.Scene]) -> None:
    """Themes make neighbours informative; strangers keep them from being sufficient."""
    members = {theme.name: set(theme.objects) for theme in cocu_scenes.themes()}
    from_theme = [name in members[scene.theme] for scene in generated for name in scene.object_labels]
    assert 0.5 < np.mean(from_theme) < 0.85


def test_generate__light_varies(generated: list[cocu_scenes.Scene]) -> None:
    brightness = [np.asarray(scene.image).mean() for scene in generated]
    assert {scene.light for scene in generated} == {"day", "overcast", "dusk", "night"}
    assert np.std(brightness) > 20
