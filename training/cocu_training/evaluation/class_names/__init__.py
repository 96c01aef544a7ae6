"""Class names, the texts that a model is prompted with; each list is a versioned file in this folder.

names = read_class_names("voc")
names.version       # "voc-1"; printed with every result
names.names         # ("background", "aeroplane", …)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

from cocu_training.errors import EvaluationError

BACKGROUND = "background"


@dataclass(frozen=True, kw_only=True)
class ClassNames:
    """names: in the order of label values. version: changes with every name, because names change scores."""

    version: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.prompted:
            raise EvaluationError(f"class names {self.version} name nothing to look for")
        if BACKGROUND in self.prompted:
            raise EvaluationError(f"class names {self.version}: background can only be the first class")

    @property
    def has_background(self) -> bool:
        """Whether the first class is the background, which a threshold decides instead of a text."""
        return bool(self.names) and self.names[0] == BACKGROUND

    @property
    def prompted(self) -> tuple[str, ...]:
        """The names that are prompted: all but the background."""
        return self.names[1:] if self.has_background else self.names

    def without_background(self) -> ClassNames:
        """Return the classes without the background."""
        if not self.has_background:
            return self
        return ClassNames(version=f"{self.version}, no background", names=self.prompted)


def read_class_names(name: str) -> ClassNames:
    """Return the names of one of the lists here. Raises EvaluationError for another."""
    file = resources.files(__name__) / f"{name}.json"
    if not file.is_file():
        raise EvaluationError(f"no class names {name!r}; there are {', '.join(class_name_sets())}")
    document = json.loads(file.read_text(encoding="utf-8"))
    return ClassNames(version=document["version"], names=tuple(document["names"]))


def class_name_sets() -> tuple[str, ...]:
    """Return the names of the lists, sorted."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in files if name.endswith(".json")))
