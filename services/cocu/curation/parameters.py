"""The parameters of a curation: frozen, and hashed as a part of its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from cocu.curation.ranking import SCORINGS

Search = Literal["auto", "exact", "ivf"]

EXACT_UP_TO = 300_000
"""The largest number of samples that "auto" searches exactly: all their pairs take minutes on a few cores."""

_LATER_FIELDS: Mapping[str, Any] = {}
"""Fields newer than the nine of the first release, each with the value that means the behaviour before it.

A field at this value stays out of the hash, so that the ids of older curations do not change. Stored
parameters that lack the field mean this value.
"""


@dataclass(frozen=True, kw_only=True)
class CurationParameters:
    """Parameters of one curation.

    neighbours: L, the number of other images whose captions an archive draws on.
    search: how neighbours are searched: "exact" compares all pairs of images; "ivf" (inverted file) compares
        a query with the rows of the nearest k-means cells only, as many cells as find 95 % of the true
        neighbours of a sample; "auto" is "exact" for up to 300,000 samples and "ivf" beyond.
    own_caption: whether the image's own caption contributes candidates.
    scoring: how candidates are ranked; see `ranking`. "evidence" needs the statistics of the dataset.
    clustering: whether archives are clustered.
    min_score, max_concepts: what an archive keeps; None keeps everything.
    duplicate_similarity: the cosine from which images with similar perceptual hashes count as copies of one
        image.
    seed: the seed of k-means.

    Raises ValueError, naming the parameter, when a value is out of range.
    """

    neighbours: int = 16
    search: Search = "auto"
    own_caption: bool = True
    scoring: str = "evidence"
    clustering: bool = True
    min_score: float | None = None
    max_concepts: int | None = None
    duplicate_similarity: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.neighbours <= 256:
            raise ValueError(f"neighbours must be between 1 and 256, not {self.neighbours}")
        if self.scoring not in SCORINGS:
            raise ValueError(f"scoring must be one of {', '.join(sorted(SCORINGS))}, not {self.scoring!r}")
        if self.search not in get_args(Search):
            raise ValueError(f"search must be one of {', '.join(get_args(Search))}, not {self.search!r}")
        if self.max_concepts is not None and self.max_concepts < 1:
            raise ValueError(f"max_concepts must be at least 1, not {self.max_concepts}")
        if not self.duplicate_similarity > 0.0:
            raise ValueError(f"duplicate_similarity must be positive, not {self.duplicate_similarity}")

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Self:
        """Return the parameters of a stored curation, whichever version of the software wrote them.

        Fields that the stored document lacks get the value that means the behaviour before they existed.
        "ivf" was once stored as "cells".
        """
        values = {**_LATER_FIELDS, **stored}
        if values.get("search") == _HASHED_IVF:
            values["search"] = "ivf"
        return cls(**values)

    def searches_exactly(self, samples: int) -> bool:
        """Return whether a snapshot of this many samples is searched exactly."""
        return self.search == "exact" or (self.search == "auto" and samples <= EXACT_UP_TO)

    @property
    def hash(self) -> str:
        """The SHA-256 of the parameters by name, in hexadecimal: equal on any machine for equal parameters.

        It is a part of a curation's id, so it must not change: see `_LATER_FIELDS` and `_HASHED_IVF`.
        """
        document = {
            name: value
            for name, value in asdict(self).items()
            if name not in _LATER_FIELDS or value != _LATER_FIELDS[name]
        }
        if self.search == "ivf":
            document["search"] = _HASHED_IVF
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the parameters, in order."""
        return tuple(field.name for field in fields(cls))


_HASHED_IVF = "cells"
"""How the hash spells search="ivf": its name in the first release, kept so that ids do not change."""
