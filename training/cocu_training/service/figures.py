"""The figures of runs, summed up so that a curve costs the same after a thousand steps and after a million.

The steps of a run are divided into spans of `width` steps, at most SPANS of them: the width doubles when a
run outgrows them. Of every span a figure keeps its first, lowest, highest and last record, so no spike is
lost. A span holds a single record until a run has recorded more than half of SPANS of them.

A run that resumes records the steps after its last checkpoint once more: later records replace earlier ones.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from cocu_training.service.database import Database

SPANS = 2048
MAX_FIGURES = 64
"""Figures that are taken of one record."""
MAX_NAME_LENGTH = 64
"""Letters in the name of a figure; one with a longer name is not taken."""
MAX_EVALUATIONS = 1000
"""Evaluations of a run that are read: the latest."""
LARGEST_STEP = 2**53
LARGEST_VALUE = 1e300

_EVALUATIONS = "SELECT data FROM events INDEXED BY evaluations WHERE run = ? AND kind = 'evaluation'"

Line = tuple[str, Mapping[str, Any]]


class Point(NamedTuple):
    """A value, and the step after which it was recorded."""

    step: int
    value: float


@dataclass(frozen=True)
class Span:
    """What is kept of a figure in a span of steps. start: its first step. count: records in it."""

    start: int
    count: int
    first: Point
    low: Point
    high: Point
    last: Point

    def followed_by(self, later: Span) -> Span:
        """This span with the records of a later one."""
        return Span(
            self.start,
            self.count + later.count,
            self.first,
            min(self.low, later.low, key=_value),
            max(self.high, later.high, key=_value),
            later.last,
        )


@dataclass(frozen=True)
class Curves:
    """The figures of a run: points by the name of the figure, in the order of steps.

    thinned: whether a figure of `steps` has fewer points than were recorded.
    """

    steps: Mapping[str, Sequence[Point]]
    evaluations: Mapping[str, Sequence[Point]]
    thinned: bool


@dataclass(frozen=True)
class Latest:
    """The figures of the last recorded step and of the last evaluation; None before there is one."""

    step: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None


class Figures:
    """Reads the figures of runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def curves(self, run: str, *, points: int) -> Curves:
        """The figures of a run, each with at most so many points; evaluations whole, the latest thousand.

        It reads at most SPANS rows of a figure, however many steps there were.
        """
        rows = self._database.rows("SELECT * FROM figures WHERE run = ? ORDER BY name, start", (run,))
        steps, thinned = {}, False
        for name, spans in groupby(rows, key=lambda row: str(row["name"])):
            spans_of_it = [_span(row) for row in spans]
            steps[name] = thin(spans_of_it, points)
            thinned = thinned or len(steps[name]) < sum(span.count for span in spans_of_it)
        return Curves(steps, self._evaluations(run), thinned)

    def latest(self, runs: Sequence[str]) -> Mapping[str, Latest]:
        """The latest figures of these runs, which are at most a page of them."""
        rows = self._database.rows(
            "SELECT run, latest, evaluation FROM summaries WHERE run IN (SELECT value FROM json_each(?))",
            (json.dumps(list(runs)),),
        )
        return {row["run"]: Latest(_read(row["latest"]), _read(row["evaluation"])) for row in rows}

    def evaluations(self, run: str) -> list[Mapping[str, Any]]:
        """The latest evaluations as they were recorded, oldest first, at most MAX_EVALUATIONS."""
        rows = self._database.rows(f"{_EVALUATIONS} ORDER BY id DESC LIMIT ?", (run, MAX_EVALUATIONS))
        return [json.loads(row["data"]) for row in reversed(rows)]

    def _evaluations(self, run: str) -> Mapping[str, Sequence[Point]]:
        recorded = list(_unrepeated(reversed(self.evaluations(run))))
        # A resumed run may have gone back before evaluations that it has not repeated yet.
        latest = self.latest([run]).get(run, Latest())
        last = max(step_of(latest.step or {}), step_of(latest.evaluation or {}))
        points: dict[str, list[Point]] = {}
        for values in reversed(recorded):
            for name, value in figures_of(values) if values["step"] <= last else ():
                points.setdefault(name, []).append(Point(values["step"], value))
        return points


def thin(spans: Sequence[Span], points: int) -> list[Point]:
    """At most `points` points of a figure, in the order of steps: all where that is enough.

    Else the steps are divided into equal parts, and each keeps its lowest and its highest point; the first
    and the last stay. points: at least 4.
    """
    kept = sorted({point for span in spans for point in (span.first, span.low, span.high, span.last)})
    if len(kept) <= points:
        return kept
    parts = (points - 2) // 2
    first, length = kept[0].step, kept[-1].step - kept[0].step + 1
    chosen = {kept[0], kept[-1]}
    for _, part in groupby(kept, key=lambda point: (point.step - first) * parts // length):
        of_part = list(part)
        chosen |= {min(of_part, key=_value), max(of_part, key=_value)}
    return sorted(chosen)


def figures_of(values: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The figures of a record: its finite numbers but the step, at most MAX_FIGURES."""
    return [
        (name, float(value))
        for name, value in values.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name != "step"
        and len(name) <= MAX_NAME_LENGTH
        and abs(value) < LARGEST_VALUE
    ][:MAX_FIGURES]


def step_of(values: Mapping[str, Any]) -> int:
    """The step of a record; -1 where it is none."""
    step = values.get("step")
    if not isinstance(step, int) or isinstance(step, bool):
        return -1
    return step if 0 <= step <= LARGEST_STEP else -1


def add_records(connection: sqlite3.Connection, run: str, lines: Iterable[Line], *, after: int) -> None:
    """Sum up records that are events already. after: id of the event before the first of them."""
    row = connection.execute(
        "SELECT width, step, latest, evaluation FROM summaries WHERE run = ?", (run,)
    ).fetchone()
    width, step, latest, evaluation = row or (1, -1, None, None)
    summary = _Summary(connection, run, width, step, latest=_read(latest), evaluation=_read(evaluation))
    for number, (kind, values) in enumerate(lines, start=after):
        step = step_of(values)
        if step >= 0:
            summary.take(kind, step, values, before=number)
    summary.store()


def sum_up_everything(connection: sqlite3.Connection) -> None:
    """Sum up the events of every run, once, in a database of a version that did not."""
    for (run,) in connection.execute("SELECT id FROM runs").fetchall():
        after = 0
        while rows := connection.execute(
            "SELECT id, kind, data FROM events WHERE run = ? AND id > ? ORDER BY id LIMIT 1000", (run, after)
        ).fetchall():
            add_records(connection, run, [(row[1], json.loads(row[2])) for row in rows], after=after)
            after = rows[-1][0]


def remove(connection: sqlite3.Connection, run: str) -> None:
    """Remove the figures of a deleted run."""
    connection.execute("DELETE FROM figures WHERE run = ?", (run,))
    connection.execute("DELETE FROM summaries WHERE run = ?", (run,))


class _Summary:
    """The summary of one run within a transaction. width: steps of a span. step: the last recorded one."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        run: str,
        width: int,
        step: int,
        *,
        latest: Mapping[str, Any] | None,
        evaluation: Mapping[str, Any] | None,
    ) -> None:
        self._connection = connection
        self._run = run
        self._width = width
        self._step = step
        self._latest = latest
        self._evaluation = evaluation
        self._pending: dict[tuple[str, int], Span] = {}

    def take(self, kind: str, step: int, values: Mapping[str, Any], *, before: int) -> None:
        """Take a record; before: id of the event before it."""
        if kind == "step":
            if step <= self._step:
                self._go_back(step - 1, before=before)
            self._add(step, values)
        elif kind == "evaluation":
            self._evaluation = values
        elif values.get("event") == "started" and step < self._step:
            self._go_back(step, before=before)

    def store(self) -> None:
        """Write what was taken."""
        self._flush()
        self._connection.execute(
            "INSERT OR REPLACE INTO summaries (run, width, step, latest, evaluation) VALUES (?, ?, ?, ?, ?)",
            (self._run, self._width, self._step, _text(self._latest), _text(self._evaluation)),
        )

    def _add(self, step: int, values: Mapping[str, Any]) -> None:
        if step // self._width >= SPANS:
            self._widen(step)
        start = step // self._width * self._width
        for name, value in figures_of(values):
            point = Point(step, value)
            span = Span(start, 1, point, point, point, point)
            earlier = self._pending.get((name, start))
            self._pending[name, start] = span if earlier is None else earlier.followed_by(span)
        self._step = step
        self._latest = values

    def _go_back(self, step: int, *, before: int) -> None:
        """Forget what was recorded after a step; read again what the last span keeps of the steps up to it.

        It reads the events that are forgotten and those of one span.
        """
        self._flush()
        start = max(step, 0) // self._width * self._width
        self._connection.execute("DELETE FROM figures WHERE run = ? AND start >= ?", (self._run, start))
        kept = []
        events = self._connection.execute(
            "SELECT kind, data FROM events WHERE run = ? AND id <= ? ORDER BY id DESC", (self._run, before)
        )
        self._step, self._latest = -1, None
        for values in _unrepeated(json.loads(data) for kind, data in events if kind == "step"):
            if values["step"] > step:
                continue
            kept.append(values)
            if values["step"] < start:
                break
        events.close()
        for values in reversed(kept):
            if values["step"] >= start:
                self._add(values["step"], values)
            else:
                self._step, self._latest = values["step"], values
        evaluations = self._connection.execute(
            f"{_EVALUATIONS} AND id <= ? ORDER BY id DESC LIMIT ?",
            (self._run, before, MAX_EVALUATIONS),
        )
        earlier = (json.loads(data) for (data,) in evaluations)
        self._evaluation = next((values for values in earlier if step_of(values) <= step), None)
        evaluations.close()

    def _widen(self, step: int) -> None:
        """Double the width until this step fits, and merge the spans."""
        self._flush()
        while step // self._width >= SPANS:
            self._width *= 2
        rows = self._connection.execute(
            "SELECT * FROM figures WHERE run = ? ORDER BY name, start", (self._run,)
        ).fetchall()
        self._connection.execute("DELETE FROM figures WHERE run = ?", (self._run,))
        for row in rows:
            name, start = row["name"], row["start"] // self._width * self._width
            span = replace(_span(row), start=start)
            earlier = self._pending.get((name, start))
            self._pending[name, start] = span if earlier is None else earlier.followed_by(span)
        self._flush()

    def _flush(self) -> None:
        for (name, start), span in self._pending.items():
            row = self._connection.execute(
                "SELECT * FROM figures WHERE run = ? AND name = ? AND start = ?", (self._run, name, start)
            ).fetchone()
            whole = span if row is None else _span(row).followed_by(span)
            self._connection.execute(
                "INSERT OR REPLACE INTO figures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._run, name, start, whole.count, *whole.first, *whole.low, *whole.high, *whole.last),
            )
        self._pending = {}


def _unrepeated(records: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Of records, last first, those that no later one replaces: a resumed run records its steps again."""
    smallest = math.inf
    for values in records:
        if 0 <= step_of(values) < smallest:
            smallest = values["step"]
            yield values


def _span(row: sqlite3.Row) -> Span:
    return Span(
        row["start"],
        row["count"],
        Point(row["first_step"], row["first_value"]),
        Point(row["low_step"], row["low_value"]),
        Point(row["high_step"], row["high_value"]),
        Point(row["last_step"], row["last_value"]),
    )


def _read(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else dict(json.loads(text))


def _text(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(values)


def _value(point: Point) -> float:
    return point.value
