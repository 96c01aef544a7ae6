"""A generated scene and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu_scenes.concepts import class_names, objects

MASK_VALUES_OF_BACKGROUNDS = len(class_names()) - len(objects())


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One thing in a scene: its concept, its box (left, top, right, bottom; pixels), its visible part."""

    name: str
    box: tuple[int, int, int, int]
    visible: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An image, a caption that names a part of it, and the complete truth.

    Guarantees: `labels` are the sorted names whose value occurs in `mask`; everything drawn is labelled;
    whatever `caption` names is in `labels`.
    """

    key: str
    image: Image.Image
    caption: str
    named: tuple[str, ...]
    mask: NDArray[np.uint8]
    placed: tuple[Placed, ...]
    kind: str
    theme: str
    light: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of everything present, objects and backgrounds, sorted."""
        names = class_names()
        return tuple(sorted(names[value] for value in np.unique(self.mask)))

    @property
    def object_labels(self) -> tuple[str, ...]:
        """The names of the objects present, sorted."""
        return tuple(sorted({thing.name for thing in self.placed}))

    def metadata(self) -> dict[str, Any]:
        """Return the content of `key.json`: plain values, in a fixed order."""
        return {
            "labels": list(self.labels),
            "named": list(self.named),
            "objects": [
                {"name": thing.name, "box": list(thing.box), "visible": round(thing.visible, 3)}
                for thing in self.placed
            ],
            "scene": self.kind,
            "theme": self.theme,
            "light": self.light,
        }
