"""The arms of the experiment: the source of the texts beside the caption. Nothing else differs.

| arm             | texts                                                                    |
|-----------------|--------------------------------------------------------------------------|
| caption         | none: only the caption                                                   |
| caption_nouns   | concepts that the sample's own caption names, as GroupViT draws its words |
| topk            | the best K concepts of the archive, the same in every epoch              |
| cluster         | concepts of the archive, drawn by cluster: CoCu                          |
| oracle          | drawn from all concepts of the image, by a table                         |

An image with fewer than K concepts gets its caption for the rest, with NO_CONCEPT as the id.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from pyarrow import ArrowException

from cocu.client import Batch, BatchRequest
from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.randomness import seed_of
from cocu_training.errors import ConfigurationError

NO_CONCEPT = -1

SAMPLERS: Mapping[str, str] = {"caption_nouns": "caption", "topk": "topk", "cluster": "cluster"}
"""The platform's samplers, for the arms whose texts the platform draws."""


class DrawnTexts(NamedTuple):
    """The K texts of one sample and the numbers of their concepts, NO_CONCEPT for the caption."""

    texts: list[str]
    ids: list[int]


@dataclass(frozen=True)
class ConceptTable:
    """The true concepts of images: key → concepts."""

    concepts: Mapping[str, Sequence[str]]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """A number for each concept, by name order."""
        names = sorted({name for names in self.concepts.values() for name in names})
        return {name: number for number, name in enumerate(names)}

    def draw(self, key: str, *, count: int, templates: Sequence[str], seed: int, epoch: int) -> DrawnTexts:
        """Draw up to `count` concepts of a sample, each in a template: a function of (seed, epoch, key)."""
        rng = random.Random(seed_of("oracle", seed, epoch, key))
        names = sorted(set(self.concepts.get(key, ())))
        names_drawn = rng.sample(names, min(count, len(names)))
        texts = [rng.choice(templates).replace("{}", name) for name in names_drawn]
        return DrawnTexts(texts, [self.numbers[name] for name in names_drawn])

    @classmethod
    def read(cls, path: str | Path) -> ConceptTable:
        """Read Parquet with columns `key` and `concepts`, or JSON: key → list, at the top or under "samples".

        Raises ConfigurationError.
        """
        file = Path(path)
        try:
            if file.suffix == ".parquet":
                columns = pq.read_table(file, columns=["key", "concepts"]).to_pydict()
                content = dict(zip(columns["key"], columns["concepts"], strict=True))
            else:
                content = json.loads(file.read_text(encoding="utf-8"))
                content = content.get("samples", content) if isinstance(content, dict) else {}
        except (OSError, ValueError, KeyError, ArrowException) as error:
            raise ConfigurationError(f"cannot read a table of concepts from {path}: {error}") from error
        lists = content.values() if isinstance(content, dict) else ()
        if not lists or not all(isinstance(names, list) for names in lists):
            raise ConfigurationError(f"{path} is not a table of key → list of concepts")
        return cls(content)


@dataclass(frozen=True)
class Arm:
    """The requests of a run to the platform, and the texts made from the responses."""

    configuration: TrainingConfiguration
    table: ConceptTable | None = None

    @classmethod
    def of(cls, configuration: TrainingConfiguration) -> Arm:
        """Build the arm of a configuration and read its table. Raises ConfigurationError."""
        if configuration.arm != "oracle":
            return cls(configuration)
        assert configuration.oracle is not None
        return cls(configuration, ConceptTable.read(configuration.oracle))

    @property
    def texts(self) -> int:
        """The number of texts of a sample beside its caption."""
        return 0 if self.configuration.arm == "caption" else self.configuration.concepts

    @property
    def request(self) -> BatchRequest:
        """The request for the stream of a single rank, from its beginning."""
        drawn_by_platform = self.configuration.arm in SAMPLERS
        return BatchRequest(
            seed=self.configuration.seed,
            global_batch=self.configuration.global_batch,
            # All batches must have one size: the loss depends on it.
            drop_last=True,
            concepts=self.configuration.concepts if drawn_by_platform else 1,
            sampler=SAMPLERS.get(self.configuration.arm, "topk"),
            temperature=self.configuration.temperature,
            size=self.configuration.image_side,
            templates=self.configuration.templates,
        )

    def draw(self, batch: Batch, *, epoch: int) -> list[DrawnTexts]:
        """Draw the K texts of every sample of a batch."""
        if not self.texts:
            return [DrawnTexts([], [])] * len(batch)
        if self.table is None:
            ids = [[*ids, *[NO_CONCEPT] * (self.texts - len(ids))] for ids in batch.concept_ids]
            return [DrawnTexts(*row) for row in zip(batch.texts, ids, strict=True)]
        return [
            self._from_table(self.table, key, caption, epoch)
            for key, caption in zip(batch.keys, batch.captions, strict=True)
        ]

    def _from_table(self, table: ConceptTable, key: str, caption: str, epoch: int) -> DrawnTexts:
        drawn = table.draw(
            key,
            count=self.texts,
            templates=self.configuration.templates,
            seed=self.configuration.seed,
            epoch=epoch,
        )
        missing = self.texts - len(drawn.texts)
        return DrawnTexts([*drawn.texts, *[caption] * missing], [*drawn.ids, *[NO_CONCEPT] * missing])
