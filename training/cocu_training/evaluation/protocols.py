"""Protocols: how each benchmark is evaluated, in two families that are never mixed.

    protocol = find_protocol("voc")            # as CoCu and GroupViT were evaluated
    find_protocol("tcl-voc")                   # as TCL and most later work was
    protocol.with_threshold(0.7).title         # "voc (threshold 0.7 instead of 0.95)"

Results are comparable only under the same title, so the title is printed with every result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from cocu_training.errors import EvaluationError
from cocu_training.evaluation.class_names import ClassNames, read_class_names

ONE_TEMPLATE = ("a photo of a {}.",)
SEVEN_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of a {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that a result depends on besides model and images.

    layout: of the dataset's files (see `layouts`). class_names: the name of a list, "" for the names that
    come with the dataset. short_side, long_side: the limits in pixels to which an image is resized, keeping
    its ratio. crop, stride: pixels of the sliding windows. threshold: a pixel whose best score is below it is
    background; None if there is no background. most_classes: the limit per window. without_background: pixels
    of the background do not count. most_pixels: larger images are first reduced to a long side of
    `reduced_side`; 0 for no limit. images: the number in the published validation set, 0 if there is none.
    """

    name: str
    family: str
    layout: str
    class_names: str
    short_side: int = 448
    long_side: int = 2_048
    crop: int = 448
    stride: int = 224
    threshold: float | None = None
    templates: tuple[str, ...] = ONE_TEMPLATE
    most_classes: int = 5
    without_background: bool = False
    most_pixels: int = 0
    reduced_side: int = 1_000
    images: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.crop:
            raise EvaluationError(f"a stride of {self.stride} leaves gaps between windows of {self.crop}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise EvaluationError(f"a background threshold lies between 0 and 1, not at {self.threshold}")
        if not self.templates or any("{}" not in template for template in self.templates):
            raise EvaluationError("templates: at least one, and {} for the name in each of them")

    @property
    def title(self) -> str:
        """The name, and all settings that differ from the protocol of that name, to print with results."""
        published = PROTOCOLS.get(self.name)
        if published is None:
            return self.name
        both = (
            (field.name, getattr(self, field.name), getattr(published, field.name)) for field in fields(self)
        )
        changed = [
            f"{name.replace('_', ' ')} {own} instead of {theirs}"
            for name, own, theirs in both
            if own != theirs
        ]
        return f"{self.name} ({'; '.join(changed)})" if changed else self.name

    def with_threshold(self, threshold: float) -> Protocol:
        """Return the protocol with another background threshold."""
        return replace(self, threshold=threshold)

    def names(self, of_dataset: ClassNames | None = None) -> ClassNames:
        """Return the classes of the protocol or of the dataset, without the background if it is left out.

        Raises EvaluationError when neither has names, or when a background has no threshold.
        """
        names = read_class_names(self.class_names) if self.class_names else of_dataset
        if names is None:
            raise EvaluationError(f"the protocol {self.name} takes names from the dataset, which has none")
        names = names.without_background() if self.without_background else names
        if names.has_background and self.threshold is None:
            raise EvaluationError(f"the protocol {self.name} has no threshold, but there is a background")
        return names


def find_protocol(name: str) -> Protocol:
    """Return the protocol of that name. Raises EvaluationError, listing the known ones."""
    if name not in PROTOCOLS:
        raise EvaluationError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _cocu() -> Iterable[Protocol]:
    """CoCu's eight benchmarks; the thresholds were chosen by hand for the published checkpoints."""

    def cocu(name: str, images: int, **settings: object) -> Protocol:
        values = {"name": name, "family": "cocu", "layout": name, "class_names": name, "images": images}
        return Protocol(**(values | settings))  # type: ignore[arg-type]

    reduced = {"layout": "imagenet_s", "most_pixels": 1_000_000}
    small = {"short_side": 512, "crop": 224, "stride": 112}
    yield cocu("voc", 1_449, threshold=0.95)
    yield cocu("context", 5_105, threshold=0.35)
    yield cocu("coco_object", 5_000, threshold=0.95)
    yield cocu("imagenet_s_50", 752, threshold=0.95, **reduced)
    yield cocu("imagenet_s_300", 4_097, threshold=0.75, **reduced)
    yield cocu("cityscapes", 500, short_side=1_024)
    yield cocu("ade20k", 2_000, **small)
    yield cocu("coco_stuff", 5_000, **small)


def _tcl() -> Iterable[Protocol]:
    """The unified protocol of TCL (Cha et al. 2023) without refinement; one window size for all
    benchmarks."""

    def tcl(layout: str, images: int, *, name: str = "", **settings: object) -> Protocol:
        values = {
            "name": f"tcl-{name or layout}",
            "family": "tcl",
            "layout": layout,
            "class_names": layout,
            "templates": SEVEN_TEMPLATES,
            "images": images,
        }
        return Protocol(**(values | settings))  # type: ignore[arg-type]

    yield tcl("voc", 1_449, threshold=0.5)
    yield tcl("voc", 1_449, name="voc20", without_background=True)
    yield tcl("context", 5_105, threshold=0.5)
    yield tcl("context", 5_105, name="context59", without_background=True)
    yield tcl("coco_object", 5_000, threshold=0.5)
    yield tcl("coco_stuff", 5_000)
    yield tcl("cityscapes", 500)
    yield tcl("ade20k", 2_000)


def _own() -> Iterable[Protocol]:
    """Generated scenes, where every pixel has a class, and any folder of images and masks."""
    yield Protocol(
        name="scenes",
        family="own",
        layout="scenes",
        class_names="",
        short_side=128,
        long_side=128,
        crop=128,
        stride=64,
    )
    yield Protocol(name="folder", family="own", layout="folder", class_names="", threshold=0.95)


PROTOCOLS = {protocol.name: protocol for family in (_cocu, _tcl, _own) for protocol in family()}
