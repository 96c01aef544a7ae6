"""What a curation is a function of, beside its data: frozen, hashable, and part of its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

Scoring = Literal["evidence", "official", "set"]
Search = Literal["auto", "exact", "cells"]

EXACT_UP_TO = 300_000
"""Samples that "auto" searches exactly: all pairs of them take minutes on a few cores."""


@dataclass(frozen=True, kw_only=True)
class CurationParameters:
    """Parameters of one curation.

    neighbours: L, how many other images' captions an archive draws on.
    search: how neighbours are found: "exact" looks at every row, "cells" at those in the nearest cells of
        the space, as many as find 95 % of the true neighbours of a sample; "auto" is "exact" up to 300,000
        samples.
    own_caption: whether the image's own caption contributes candidates.
    scoring: how candidates are ranked; see `ranking`. "evidence" needs the statistics of the dataset.
    clustering: whether archives are clustered.
    min_score, max_concepts: what an archive keeps; None keeps everything.
    duplicate_similarity: cosine from which images with like fingerprints count as copies of one picture.
    seed: of the k-means seeding.

    Raises ValueError, naming the parameter, when a value is out of range.
    """

    neighbours: int = 16
    search: Search = "auto"
    own_caption: bool = True
    scoring: Scoring = "evidence"
    clustering: bool = True
    min_score: float | None = None
    max_concepts: int | None = None
    duplicate_similarity: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.neighbours <= 256:
            raise ValueError(f"neighbours must be between 1 and 256, not {self.neighbours}")
        if self.scoring not in get_args(Scoring):
            raise ValueError(f"scoring must be one of {', '.join(get_args(Scoring))}, not {self.scoring!r}")
        if self.search not in get_args(Search):
            raise ValueError(f"search must be one of {', '.join(get_args(Search))}, not {self.search!r}")
        if self.max_concepts is not None and self.max_concepts < 1:
            raise ValueError(f"max_concepts must be at least 1, not {self.max_concepts}")
        if not self.duplicate_similarity > 0.0:
            raise ValueError(f"duplicate_similarity must be positive, not {self.duplicate_similarity}")

    def searches_exactly(self, samples: int) -> bool:
        """Whether a snapshot of this many samples is searched exactly: equal data, equal search."""
        return self.search == "exact" or (self.search == "auto" and samples <= EXACT_UP_TO)

    @property
    def hash(self) -> str:
        """SHA-256 over the parameters by name: equal parameters, equal hash, on any machine."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(field.name for field in fields(cls))
