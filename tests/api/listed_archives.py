"""A curation whose archives are all known, and filters that are evaluated in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.api.conftest import VOCABULARY

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.schemas import Archive, ArchiveConcept

WORDS = VOCABULARY.split()


class Listed:
    """A dataset that grew and was curated again, in shards of a few samples: all of its archives.

    No dataclass: Hypothesis prints those with all they hold, and refuses to print that much.
    """

    def __init__(self, client: CocuClient, server: LocalServer, curation: str) -> None:
        self.client, self.server, self.curation = client, server, curation
        self.archives = tuple(client.archives.list(curation))

    @property
    def url(self) -> str:
        """The URL of the curation."""
        return f"{self.server.url}/v1/curations/{self.curation}"

    @property
    def folder(self) -> Path:
        """Where the objects of the curation are."""
        return self.server.platform.settings.data_folder / "objects" / "curations" / self.curation

    @property
    def scores(self) -> list[float]:
        return sorted({concept.score for archive in self.archives for concept in archive.concepts})


@dataclass(frozen=True)
class Filter:
    """The filters of one request, and what they mean."""

    concept: tuple[str, ...] = ()
    added: bool | None = None
    min_score: float | None = None
    changed: bool | None = None

    @property
    def params(self) -> dict[str, object]:
        values = {"added": self.added, "min_score": self.min_score, "changed": self.changed}
        return {"concept": list(self.concept)} | values

    def holds(self, archive: Archive) -> bool:
        if self.changed is not None and archive.changed != self.changed:
            return False
        by_name = {concept.concept: concept for concept in archive.concepts}
        if self.concept:
            return all(name in by_name and self._fits(by_name[name]) for name in self.concept)
        if self.added is None and self.min_score is None:
            return True
        return any(self._fits(concept) for concept in archive.concepts)

    def _fits(self, concept: ArchiveConcept) -> bool:
        # Scores are 32-bit floats, and bounds are compared as such.
        largest = float(np.finfo(np.float32).max)
        bound = -largest if self.min_score is None else np.clip(self.min_score, -largest, largest)
        is_high = bool(np.float32(concept.score) >= np.float32(bound))
        return is_high and (self.added is None or concept.added == self.added)


def captions(first: int, count: int) -> dict[str, str]:
    random = np.random.default_rng(first)
    texts = [
        "a " + " and a ".join(random.choice(WORDS, size=random.integers(0, 4), replace=False))
        for _ in range(count)
    ]
    keys = [f"{number:03d}" for number in range(first, first + count)]
    return dict(zip(keys, texts, strict=True))
