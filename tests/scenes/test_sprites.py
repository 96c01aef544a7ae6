"""The committed sprites."""

from __future__ import annotations

import cocu_scenes
from cocu_scenes.sprites import SPRITE_SIZE, sprites


def test_sprites__there_is_a_image_of_every_object() -> None:
    assert len(sprites()) == len(cocu_scenes.objects()) >= 100
    for sprite in sprites():
        assert SPRITE_SIZE - 4 <= max(sprite.size) <= SPRITE_SIZE
        alpha = sprite.convert("RGBA").getchannel("A")
        assert sum(alpha.histogram()[128:]) > 0.1 * sprite.width * sprite.height


def test_sprites__no_two_are_alike() -> None:
    pixels = [sprite.resize((12, 12)).tobytes() for sprite in sprites()]
    assert len(set(pixels)) == len(pixels)


def test_objects__there_are_enough_kinds_of_background_and_every_object_has_a_theme() -> None:
    assert len(cocu_scenes.backgrounds()) >= 8
    assert {name for theme in cocu_scenes.themes() for name in theme.objects} == {
        thing.name for thing in cocu_scenes.objects()
    }
    background_names = {background.name for background in cocu_scenes.backgrounds()}
    assert {
        background_name for theme in cocu_scenes.themes() for background_name in theme.scenes
    } == background_names
