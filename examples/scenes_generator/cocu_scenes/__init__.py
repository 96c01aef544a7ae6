"""Images with known truth: objects on drawn backgrounds, captions that leave most of them out.

    import cocu_scenes

    for scene in cocu_scenes.generate(seed=0, start=0, count=100):
        scene.image        # PIL image, RGB
        scene.caption      # names one or two of the things in it
        scene.labels       # everything in it, including the background
        scene.mask         # uint8 [H, W], an index into cocu_scenes.class_names() for every pixel

    cocu_scenes.write_scenes(folder, seed=0, count=1200, shards=4)

Scene i of a seed is a pure function of (seed, i): any range, in any process and order, gives the same scenes.
The objects are glyphs of Noto Color Emoji (see NOTICE); everything else is drawn here.
"""

from cocu_scenes.concepts import Background, SceneObject, Theme, backgrounds, class_names, objects, themes
from cocu_scenes.generation import generate, generate_scene
from cocu_scenes.shards import write_scenes
from cocu_scenes.truth import Placed, Scene

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
