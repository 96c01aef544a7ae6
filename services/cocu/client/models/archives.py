"""Archives: the ranked concepts of an image, and where each came from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cocu.client.models.base import Answer


class Origin(Answer):
    """A caption that named a concept: the image's own, or that of a neighbour this similar to the image."""

    kind: Literal["own_caption", "neighbour"]
    key: str
    similarity: float
    caption: str


class ArchiveConcept(Answer):
    """A concept of an archive with the parts its score is made of.

    added: the image's own caption does not name it. cluster: None where the archive is too short to cluster.
    """

    concept: str
    score: float
    global_score: float = Field(alias="global")
    local_score: float = Field(alias="local")
    cluster: int | None = None
    added: bool
    origins: list[Origin]


class Neighbour(Answer):
    """A similar image, and how similar."""

    key: str
    similarity: float


class Archive(Answer):
    """The concepts of one image by descending score, and the neighbours they were drawn from.

    changed: the image is new, or its neighbours are not those of the curation before the dataset grew.
    """

    curation: str
    dataset: str
    key: str
    caption: str
    concepts: list[ArchiveConcept]
    neighbours: list[Neighbour]
    changed: bool = True
    image: str | None
    thumbnail: str | None

    @property
    def added(self) -> list[ArchiveConcept]:
        """The concepts that the image's own caption does not name, best first."""
        return [concept for concept in self.concepts if concept.added]
