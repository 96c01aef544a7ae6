"""Pictures with known truth: objects on drawn backgrounds, captions that leave most of them out.

    from cocu.datasets import scenes

    for scene in scenes.generate(seed=0, start=0, count=100):
        scene.picture      # PIL image, RGB
        scene.caption      # names one or two of the things that are there
        scene.labels       # everything that is there, the background included
        scene.mask         # uint8 [H, W], an index into scenes.class_names() for every pixel

    scenes.write_scenes(folder, seed=0, count=1200, shards=4)

Scene i of a seed is a pure function of (seed, i): any range, in any process and order, gives the same scenes.
The objects are glyphs of Noto Color Emoji (see NOTICE); everything else is drawn here.
"""

from cocu.datasets.scenes.concepts import (
    Background,
    SceneObject,
    Theme,
    backgrounds,
    class_names,
    objects,
    themes,
)
from cocu.datasets.scenes.generation import generate, generate_scene
from cocu.datasets.scenes.truth import Placed, Scene
from cocu.datasets.scenes.writing import write_scenes

__all__ = [
    "Background",
    "Placed",
    "Scene",
    "SceneObject",
    "Theme",
    "backgrounds",
    "class_names",
    "generate",
    "generate_scene",
    "objects",
    "themes",
    "write_scenes",
]
