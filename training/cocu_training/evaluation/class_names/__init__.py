"""Names of classes as texts that a model is asked for; each list is a versioned file beside this one.

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
    """names: in the order of label values. version: changes with every name, as names are worth points."""

    version: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.prompted:
            raise EvaluationError(f"class names {self.version} name nothing to look for")
        if BACKGROUND in self.prompted:
            raise EvaluationError(f"class names {self.version}: background can only be the first class")

    @property
    def has_background(self) -> bool:
        """The first class is what no other is: no text, but a threshold decides it."""
        return bool(self.names) and self.names[0] == BACKGROUND

    @property
    def prompted(self) -> tuple[str, ...]:
        """Names that are texts: all but the background."""
        return self.names[1:] if self.has_background else self.names

    def without_background(self) -> ClassNames:
        """The classes of the variant that leaves the background out."""
        if not self.has_background:
            return self
        return ClassNames(version=f"{self.version}, no background", names=self.prompted)


def read_class_names(name: str) -> ClassNames:
    """The names of one of the sets here; raises EvaluationError for another."""
    file = resources.files(__name__) / f"{name}.json"
    if not file.is_file():
        raise EvaluationError(f"no class names {name!r}; there are {', '.join(class_name_sets())}")
    document = json.loads(file.read_text(encoding="utf-8"))
    return ClassNames(version=document["version"], names=tuple(document["names"]))


def class_name_sets() -> tuple[str, ...]:
    """The sets there are names for, sorted."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in files if name.endswith(".json")))
