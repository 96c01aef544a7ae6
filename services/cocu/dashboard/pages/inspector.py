"""The inspector: one archive, why each concept is in it, and what a trainer sees of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from cocu.client import BadRequestError, ClientError, CocuClient, InvalidInputError
from cocu.dashboard import links
from cocu.dashboard.links import ArchiveQuery
from cocu.dashboard.pages.archives import label_names, selection
from cocu.dashboard.pages.curation import crumbs
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.http.paths import decode_segment
from cocu.schemas import (
    AdjacentArchives,
    ArchiveDetail,
    ArchiveDraws,
    Curation,
    Dataset,
    WeighedConcept,
)

EPOCHS = 5
"""Epochs whose draws are shown."""
MAX_SEED = 2**31
CATEGORIES = 6
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class ScoreBar:
    """The parts of a score as shares of the width of its drawing, from 0 to 100.

    captions, image: (start, width) of what captions and the image say; None where a score has no parts.
    """

    zero: float
    sum: float
    captions: tuple[float, float] | None
    image: tuple[float, float] | None


@dataclass(frozen=True)
class Row:
    """A concept with what its row shows.

    neighbours: places of the neighbours that name it, and the share that each gave to its support.
    """

    concept: WeighedConcept
    letter: str
    category: int
    is_first: bool
    bar: ScoreBar
    chance: float | None
    neighbours: tuple[tuple[int, float | None], ...]
    first_draw: float | None
    inclusion: float | None


@dataclass(frozen=True)
class Lens:
    """How the draws of an archive are looked at: everything of it is in the URL.

    threshold: the score from which concepts are drawn; None for all.
    """

    seed: int = 0
    temperature: float = 1.0
    threshold: float | None = None

    @classmethod
    def read(cls, query: QueryParams) -> Lens:
        """The lens of a request; what cannot be read has its default."""
        seed = _number(query.get("seed"), 0, MAX_SEED - 1)
        return cls(
            seed=int(seed or 0),
            temperature=_number(query.get("temperature"), 0.1, 10) or 1.0,
            threshold=_number(query.get("threshold"), -1e3, 1e3),
        )

    def pairs(self) -> list[tuple[str, str]]:
        """The lens as parameters, defaults left out."""
        pairs = [("seed", str(self.seed))] if self.seed else []
        if self.temperature != 1:
            pairs.append(("temperature", f"{self.temperature:g}"))
        if self.threshold is not None:
            pairs.append(("threshold", f"{self.threshold:g}"))
        return pairs


@dataclass(frozen=True)
class Inspection:
    """What the inspector shows."""

    curation: Curation
    dataset: Dataset
    archive: ArchiveDetail
    query: ArchiveQuery
    label_sets: tuple[str, ...]
    adjacent: AdjacentArchives
    rows: tuple[Row, ...]
    draws: ArchiveDraws | None
    lens: Lens

    @property
    def scores(self) -> tuple[float, float]:
        """The range of the score line: a little more than the scores of the archive, in tenths."""
        scores = [concept.score for concept in self.archive.concepts] or [0.0]
        return math.floor(10 * min(scores)) / 10, math.ceil(10 * max(scores)) / 10

    @property
    def clusters(self) -> int:
        """How many clusters the archive has."""
        return len({concept.cluster for concept in self.archive.concepts} - {None})

    @property
    def gain(self) -> int:
        """How many concepts the caption lacks."""
        return sum(concept.added for concept in self.archive.concepts)


def read(client: CocuClient, identifier: str, key: str, query: ArchiveQuery, lens: Lens) -> Inspection:
    """Ask for an archive, its place in the list, and its draws."""
    curation = client.curations.get(identifier)
    label_sets = label_names(client, curation.dataset)
    try:
        archive = client.archives.get(identifier, key, labels=query.labels)
    except (BadRequestError, InvalidInputError) as error:
        query = replace(query, labels=None, verdict=None, notes=(*query.notes, error.problem.detail))
        archive = client.archives.get(identifier, key)
    try:
        adjacent = client.archives.adjacent(identifier, key, **selection(query), order=query.order)
    except (BadRequestError, InvalidInputError) as error:
        # The list is none that the platform knows; the archive is there all the same.
        note = f"This list of archives cannot be shown: {error.problem.detail}"
        query = ArchiveQuery(labels=query.labels, notes=(*query.notes, note))
        adjacent = client.archives.adjacent(identifier, key)
    try:
        draws = client.archives.draws(
            identifier, key, seed=lens.seed, temperature=lens.temperature, epochs=EPOCHS
        )
    except ClientError:
        draws = None
    return Inspection(
        curation=curation,
        dataset=client.datasets.get(curation.dataset),
        archive=archive,
        query=query,
        label_sets=label_sets,
        adjacent=adjacent,
        rows=rows_of(archive, draws, is_evidence=curation.parameters.get("scoring") == "evidence"),
        draws=draws,
        lens=lens,
    )


async def show(request: Request) -> Response:
    """The page; of a request for its draws alone, with another seed, only these are used by the browser."""
    identifier = request.path_params["curation"]
    key = decode_segment(request.path_params["key"])
    query = ArchiveQuery.read(request.query_params)
    lens = Lens.read(request.query_params)
    view = await request.app.state.calls.run(lambda client: read(client, identifier, key, query, lens))
    renderer: Renderer = request.app.state.renderer
    return renderer.page(
        request,
        "inspector.html",
        title=f"Archive of {key}",
        crumbs=[
            *crumbs(view.dataset, view.curation),
            Crumb("Archives", query.grid(identifier)),
            Crumb(key),
        ],
        view=view,
        links=links,
        added={concept.concept for concept in view.archive.concepts if concept.added},
        again=links.with_query("", [*query.pairs(), *replace(lens, seed=lens.seed + 1).pairs()]),
    )


def rows_of(archive: ArchiveDetail, draws: ArchiveDraws | None, *, is_evidence: bool) -> tuple[Row, ...]:
    """The concepts in the order of their rows: clusters by their best score, within one by score."""
    chances = {chance.concept: chance for chance in draws.concepts} if draws is not None else {}
    places = {neighbour.key: rank for rank, neighbour in enumerate(archive.neighbours)}
    grouped = _grouped(archive.concepts)
    numbers = [
        number
        for concept in archive.concepts
        for number in (
            (concept.score, concept.global_score, concept.local_score) if is_evidence else (concept.score,)
        )
    ]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    rows = []
    for index, (cluster, concepts) in enumerate(grouped):
        for rank, concept in enumerate(concepts):
            chance = chances.get(concept.concept)
            rows.append(
                Row(
                    concept=concept,
                    letter="" if cluster is None else LETTERS[index % len(LETTERS)],
                    category=index % CATEGORIES + 1,
                    is_first=rank == 0,
                    bar=_bar(concept, low, high, has_parts=is_evidence),
                    chance=1 / (1 + math.exp(-concept.score)) if is_evidence else None,
                    neighbours=tuple(
                        (places[origin.key], origin.weight)
                        for origin in concept.origins
                        if origin.kind == "neighbour" and origin.key in places
                    ),
                    first_draw=None if chance is None else chance.first_draw,
                    inclusion=None if chance is None else chance.inclusion,
                )
            )
    return tuple(rows)


def _grouped(concepts: Sequence[WeighedConcept]) -> list[tuple[int | None, list[WeighedConcept]]]:
    best: dict[int | None, float] = {}
    for concept in concepts:
        best[concept.cluster] = max(best.get(concept.cluster, -math.inf), concept.score)
    ordered = sorted(
        concepts,
        # What is in no cluster stands last, whatever its score.
        key=lambda concept: (
            concept.cluster is None,
            -best[concept.cluster],
            concept.cluster or 0,
            -concept.score,
        ),
    )
    return [
        (cluster, list(members)) for cluster, members in groupby(ordered, lambda concept: concept.cluster)
    ]


def _bar(concept: WeighedConcept, low: float, high: float, *, has_parts: bool) -> ScoreBar:
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return 2 + 96 * (value - low) / span

    def part(value: float) -> tuple[float, float]:
        return min(place(0), place(value)), abs(place(value) - place(0))

    return ScoreBar(
        zero=place(0),
        sum=place(concept.score),
        captions=part(concept.local_score) if has_parts else None,
        image=part(concept.global_score) if has_parts else None,
    )


def _number(text: str | None, low: float, high: float) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if low <= number <= high else None
