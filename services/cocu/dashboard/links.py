"""URLs of the dashboard: built here, and their queries read here.

A query has its parameters in one order and leaves out defaults, so that a view has one URL. What cannot be
read is left out, with a note on the page: a link of tomorrow's version, or one cut off in a mail, still shows
something.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, cast, get_args
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams

Where = Literal["archive", "added", "caption"]
"""Which concepts of an archive a filter is about: all, those its caption lacks, those its caption names."""
Order = Literal["sample", "-gain", "-best_added", "-score", "score"]
ORDERS: Final[dict[Order, str]] = {
    "sample": "as uploaded",
    "-gain": "most gained",
    "-best_added": "best added",
    "-score": "highest score",
    "score": "lowest score",
}
OF_A_CONCEPT: Final = frozenset({"-score", "score"})
"""Orders by the score of one concept."""
MAX_CONCEPTS: Final = 8
MAX_CORNERS: Final = 64
"""Corners of a lasso."""
SIDE: Final = 65536
"""The side of a map: its coordinates are 16-bit numbers."""
_COLORS: Final = frozenset({"region", "gain", "best_added", "changed"})
Verdict = Literal["hit", "false", "missed"]
VERDICTS: Final[dict[Verdict, str]] = {
    "false": "wrong by the labels",
    "hit": "right by the labels",
    "missed": "a label is missed",
}
"""What a list may select by labels, in words."""
WISHED_PRECISION: Final = 0.8
"""The precision that a threshold should have, where nobody says another."""
LABELS_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return "%2E" * len(text) if text in {".", ".."} else quote(text, safe="", errors="surrogatepass")


def dataset(identifier: str) -> str:
    """The page of a dataset."""
    return f"/datasets/{segment(identifier)}"


def curation(identifier: str) -> str:
    """The page of a curation."""
    return f"/curations/{segment(identifier)}"


def vocabulary(identifier: str, *, dataset_id: str = "", prefix: str = "", after: str = "") -> str:
    """The page of a vocabulary. dataset_id: what to curate with it; prefix, after: of its concepts."""
    pairs = [("dataset", dataset_id), ("prefix", prefix), ("after", after)]
    return with_query(f"/vocabularies/{segment(identifier)}", [pair for pair in pairs if pair[1]])


def vocabulary_text(identifier: str, *, dataset_id: str = "") -> str:
    """The editor of a vocabulary. dataset_id: what to curate with the new one."""
    pairs = [("dataset", dataset_id)] if dataset_id else []
    return with_query(f"/vocabularies/{segment(identifier)}/edit", pairs)


def vocabulary_deletion(identifier: str) -> str:
    """The page that asks whether to delete a vocabulary."""
    return f"/vocabularies/{segment(identifier)}/delete"


def vocabulary_document(identifier: str) -> str:
    """The document of a vocabulary, of the API."""
    return f"/v1/vocabularies/{segment(identifier)}/document"


def curate(dataset_id: str, vocabulary_id: str | None = None) -> str:
    """The form of a new curation of a dataset; with a vocabulary, that one is chosen there."""
    chosen = [("vocabulary", vocabulary_id)] if vocabulary_id is not None else []
    return with_query(f"{dataset(dataset_id)}/curate", chosen)


def concept(curation_id: str, name: str) -> str:
    """The page of a concept in a curation."""
    return f"{curation(curation_id)}/concepts/{segment(name)}"


def audit(curation_id: str, *, precision: float = WISHED_PRECISION, key: str = "", concept: str = "") -> str:
    """The audit of a curation. precision: what is wished for; key, concept: of the pair judged last."""
    pairs = [("precision", f"{precision:g}")] if precision != WISHED_PRECISION else []
    if key and concept:
        pairs += [("key", key), ("concept", concept)]
    return with_query(f"{curation(curation_id)}/audit", pairs)


def comparison(first: str, second: str) -> str:
    """The page of a comparison."""
    return f"{curation(first)}/compare/{segment(second)}"


def training(*, curation_id: str = "", after: str = "") -> str:
    """The runs of the training service; of one curation, from a cursor on."""
    pairs = [("curation", curation_id), ("after", after)]
    return with_query("/training", [pair for pair in pairs if pair[1]])


def training_run(run: str, *, beside: Iterable[str] = ()) -> str:
    """The page of a run; beside: other runs whose curves are drawn with its own."""
    others = ",".join(segment(other) for other in beside)
    return f"/training/runs/{segment(run)}" + (f"?with={others}" if others else "")


def run_file(run: str, name: str, *, at: datetime | None = None) -> str:
    """A file of a run. at: when it was written, for a URL that is another after the file has changed."""
    parts = "/".join(segment(part) for part in name.split("/"))
    pairs = [] if at is None else [("at", f"{at.timestamp():.6f}")]
    return with_query(f"/training/runs/{segment(run)}/files/{parts}", pairs)


def similar(dataset_id: str, key: str) -> str:
    """The search for pictures like a sample."""
    return with_query("/search", [("dataset", dataset_id), ("sample", key)])


@dataclass(frozen=True)
class ArchiveQuery:
    """Which archives are shown, in which order, from where on. Everything is in the URL."""

    concepts: tuple[str, ...] = ()
    where: Where = "archive"
    min_score: float | None = None
    changed: bool | None = None
    projection: str | None = None
    lasso: str | None = None
    region: int | None = None
    order: Order = "sample"
    after: str | None = None
    labels: str | None = None
    verdict: Verdict | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, query: QueryParams) -> ArchiveQuery:
        """The query of a request; what cannot be read is left out and noted."""
        notes: list[str] = []
        concepts = tuple(dict.fromkeys(name for name in query.getlist("concept") if name))
        if len(concepts) > MAX_CONCEPTS:
            notes.append(f"Only the first {MAX_CONCEPTS} concepts are asked for.")
        where = query.get("in", "archive")
        if where not in get_args(Where):
            notes.append("“in” is archive, added or caption; it is left out.")
            where = "archive"
        order = query.get("order", "sample")
        if order not in ORDERS or (order in OF_A_CONCEPT and not concepts):
            notes.append("This order is not known here; pictures are shown as uploaded.")
            order = "sample"
        changed = {"true": True, "false": False, None: None}.get(query.get("changed"))
        projection = query.get("projection") or None
        lasso, region = _selection(query, notes)
        if projection is None and (lasso is not None or region is not None):
            notes.append("A part of a map needs “projection”, which says of which map; it is left out.")
            lasso, region = None, None
        labels, verdict = _read_labels(query, notes)
        return cls(
            concepts=concepts[:MAX_CONCEPTS],
            where=cast(Where, where),
            min_score=_score(query.get("min_score"), notes),
            changed=changed,
            projection=projection if lasso is not None or region is not None else None,
            lasso=lasso,
            region=region,
            order=cast(Order, order),
            after=query.get("after") or None,
            labels=labels,
            verdict=verdict,
            notes=tuple(notes),
        )

    @property
    def added(self) -> bool | None:
        """The filter `added` of the API."""
        return {"archive": None, "added": True, "caption": False}[self.where]

    @property
    def is_filtered(self) -> bool:
        """Whether any archive may be left out."""
        return self != ArchiveQuery(order=self.order, after=self.after, labels=self.labels)

    def pairs(self) -> list[tuple[str, str]]:
        """The query as parameters, defaults left out."""
        pairs = [("concept", name) for name in self.concepts]
        if self.where != "archive":
            pairs.append(("in", self.where))
        if self.min_score is not None:
            pairs.append(("min_score", f"{self.min_score:g}"))
        if self.changed is not None:
            pairs.append(("changed", str(self.changed).lower()))
        pairs += self.part_pairs()
        if self.labels is not None:
            pairs.append(("labels", self.labels))
        if self.verdict is not None:
            pairs.append(("verdict", self.verdict))
        if self.order != "sample":
            pairs.append(("order", self.order))
        if self.after is not None:
            pairs.append(("after", self.after))
        return pairs

    @property
    def is_part_of_map(self) -> bool:
        """Whether only a part of a map is asked for."""
        return self.lasso is not None or self.region is not None

    def part_pairs(self) -> list[tuple[str, str]]:
        """The part of the map as parameters."""
        return _selection_pairs(self.projection, self.lasso, self.region)

    def without_part(self) -> ArchiveQuery:
        """The query for the whole map, from its first page on."""
        return replace(self, projection=None, lasso=None, region=None, after=None)

    def map(self, curation_id: str) -> str:
        """The map with the same part of it selected, coloured by the first concept."""
        color = f"concept:{self.concepts[0]}" if self.concepts else "region"
        return MapQuery(self.projection, color, lasso=self.lasso, region=self.region).url(curation_id)

    def grid(self, curation_id: str) -> str:
        """The URL of the grid."""
        return with_query(f"{curation(curation_id)}/archives", self.pairs())

    def archive(self, curation_id: str, key: str) -> str:
        """The URL of one archive as a member of this list."""
        members = replace(self, after=None)
        return with_query(f"{curation(curation_id)}/archives/{segment(key)}", members.pairs())

    def with_concept(self, name: str) -> ArchiveQuery:
        """The query with one more concept, from its first page on."""
        concepts = tuple(dict.fromkeys((*self.concepts, name)))
        return replace(self, concepts=concepts, after=None)

    def without_concept(self, name: str) -> ArchiveQuery:
        """The query without a concept, from its first page on."""
        concepts = tuple(concept for concept in self.concepts if concept != name)
        order = "sample" if not concepts and self.order in OF_A_CONCEPT else self.order
        return replace(self, concepts=concepts, order=order, after=None)

    def changed_to(self, **values: object) -> ArchiveQuery:
        """The query with other values, from its first page on."""
        return replace(self, **{"after": None, **values})  # type: ignore[arg-type]


@dataclass(frozen=True)
class MapQuery:
    """What a map shows: which projection (None: the newest), by what it is coloured, which part of it is seen
    (the centre and the side of a square; None: all), and what is selected: a lasso, a region, or nothing.
    """

    projection: str | None = None
    color: str = "region"
    view: tuple[int, int, int] | None = None
    lasso: str | None = None
    region: int | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, query: QueryParams) -> MapQuery:
        """The query of a request; what cannot be read is left out and noted."""
        notes: list[str] = []
        color = query.get("color") or "region"
        if color not in _COLORS and not (color.startswith("concept:") and color != "concept:"):
            notes.append("“color” is region, gain, best_added, changed or concept:NAME; it is left out.")
            color = "region"
        lasso, region = _selection(query, notes)
        return cls(
            projection=query.get("projection") or None,
            color=color,
            view=_view(query.get("view"), notes),
            lasso=lasso,
            region=region,
            notes=tuple(notes),
        )

    @property
    def concept(self) -> str:
        """The concept by which it is coloured; empty where it is by something else."""
        return self.color.removeprefix("concept:") if self.color.startswith("concept:") else ""

    @property
    def is_selected(self) -> bool:
        """Whether a part is selected."""
        return self.lasso is not None or self.region is not None

    def url(self, curation_id: str) -> str:
        """The URL of the map."""
        pairs = [("projection", self.projection)] if self.projection is not None else []
        if self.color != "region":
            pairs.append(("color", self.color))
        if self.view is not None:
            pairs.append(("view", "-".join(map(str, self.view))))
        pairs += _selection_pairs(None, self.lasso, self.region)
        return with_query(f"{curation(curation_id)}/map", pairs)

    def changed_to(self, **values: object) -> MapQuery:
        """The query with other values."""
        return replace(self, **values)  # type: ignore[arg-type]


def with_query(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A path with parameters, if there are any."""
    query = urlencode(list(pairs), errors="surrogatepass")
    return f"{path}?{query}" if query else path


def _read_labels(query: QueryParams, notes: list[str]) -> tuple[str | None, Verdict | None]:
    """The labels by which archives are seen, and the verdict that is asked for; none without labels."""
    labels, verdict = query.get("labels") or None, query.get("verdict") or None
    if labels is not None and LABELS_NAME.fullmatch(labels) is None:
        notes.append("“labels” is no name of labels; it is left out.")
        labels = None
    if labels is None and query.get("labels") == "":
        verdict = None  # a form in which labels were taken away
    if verdict is not None and (verdict not in VERDICTS or labels is None):
        notes.append("“verdict” is hit, false or missed, by labels; it is left out.")
        verdict = None
    return labels, verdict


def _score(text: str | None, notes: list[str]) -> float | None:
    if not text:
        return None
    try:
        score = float(text.replace("\u2212", "-").replace(",", "."))
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        notes.append("“min_score” is no number; it is left out.")
        return None
    return score


def _selection(query: QueryParams, notes: list[str]) -> tuple[str | None, int | None]:
    """The lasso or the region of a query; a lasso comes first."""
    lasso, region = query.get("lasso") or None, query.get("region") or None
    if lasso is not None and not _is_lasso(lasso):
        notes.append("“lasso” is no list of corners; it is left out.")
        lasso = None
    if region is not None and not re.fullmatch(r"[0-9]{1,3}", region, re.ASCII):
        notes.append("“region” is no number of a region; it is left out.")
        region = None
    return lasso, int(region) if region is not None and lasso is None else None


def _is_lasso(text: str) -> bool:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII):
        return False
    try:
        corners = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return False
    return len(corners) % 4 == 0 and 3 <= len(corners) // 4 <= MAX_CORNERS


def _selection_pairs(projection: str | None, lasso: str | None, region: int | None) -> list[tuple[str, str]]:
    pairs = [
        ("projection", projection),
        ("lasso", lasso),
        ("region", None if region is None else str(region)),
    ]
    return [(name, value) for name, value in pairs if value is not None]


def _view(text: str | None, notes: list[str]) -> tuple[int, int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})-([0-9]{1,6})", text, re.ASCII)
    x, y, size = map(int, match.groups()) if match else (0, 0, 0)
    if x >= SIDE or y >= SIDE or not 0 < size <= 2 * SIDE:
        notes.append("“view” is not a part of a map; it is left out.")
        return None
    return x, y, size
