"""Figures of runs: what a curve shows is what was recorded, however long a run is, and after resuming too."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu_training.service.database import FIRST_VERSION, Database
from cocu_training.service.figures import MAX_EVALUATIONS, SPANS, Curves, figures_of, sum_up_everything
from cocu_training.service.runs import Runs

Line = tuple[str, Mapping[str, Any]]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with Database(tmp_path, fill=sum_up_everything) as database:
        yield Runs(database)


def queued(runs: Runs, *, curation: str = "c", tenant: str = "default") -> str:
    return runs.create(
        tenant=tenant, curation=curation, configuration={"arm": "topk"}, name=None, max_queued=1000
    ).id


def steps_of(values: Mapping[int, float]) -> list[Line]:
    return [("step", {"step": step, "loss": value}) for step, value in values.items()]


def loss(curves: Curves) -> dict[int, float]:
    return {point.step: point.value for point in curves.steps["loss"]}


def append(runs: Runs, run: str, lines: Sequence[Line], *, at_once: int = 100) -> None:
    for first in range(0, len(lines), at_once):
        runs.append(run, lines[first : first + at_once])


def test_curves__are_the_records_where_these_fit(runs: Runs) -> None:
    run, other = queued(runs), queued(runs)
    values = {step: math.sin(step) for step in range(50, 20_001, 50)}
    append(runs, run, steps_of(values))
    append(runs, other, steps_of({1: 7.0}))
    curves = runs.figures.curves(run, points=500)
    assert loss(curves) == values
    assert not curves.thinned
    assert loss(runs.figures.curves(other, points=500)) == {1: 7.0}


@pytest.mark.parametrize("points", [4, 5, 100, 5000])
def test_thinned_curves__keep_both_ends_and_every_extreme(runs: Runs, points: int) -> None:
    run = queued(runs)
    values = {step: random.Random(step).random() for step in range(1, 30_001)}
    values |= {12_345: 50.0, 23_456: -50.0}
    append(runs, run, steps_of(values), at_once=1000)
    curves = runs.figures.curves(run, points=points)
    kept = loss(curves)
    assert curves.thinned
    assert len(kept) <= points
    assert len(kept) >= min(points, 1000) // 3
    assert all(values[step] == value for step, value in kept.items())
    assert list(kept) == sorted(kept)
    assert {1, 12_345, 23_456, 30_000} <= set(kept)


def test_each_part_of_a_thinned_curve__keeps_its_lowest_and_highest(runs: Runs) -> None:
    run = queued(runs)
    values = {step: random.Random(step).random() for step in range(1, 10_001)}
    append(runs, run, steps_of(values), at_once=1000)
    kept = loss(runs.figures.curves(run, points=202))
    for part in range(100):
        steps = range(part * 100 + 1, part * 100 + 101)
        lowest, highest = min(steps, key=values.__getitem__), max(steps, key=values.__getitem__)
        assert {lowest, highest} <= set(kept)


def test_rows__stay_few_however_many_steps_there_are(runs: Runs, tmp_path: Path) -> None:
    run = queued(runs)
    append(runs, run, steps_of({step: float(step) for step in range(1, 40_001)}), at_once=1000)
    with sqlite3.connect(tmp_path / "runs.sqlite") as connection:
        (rows,) = connection.execute("SELECT count(*) FROM figures").fetchone()
    connection.close()
    assert SPANS // 2 <= rows <= SPANS


def test_evaluations__are_the_latest_thousand_and_oldest_first(runs: Runs) -> None:
    run, other = queued(runs), queued(runs)
    lines: list[Line] = []
    for step in range(1, MAX_EVALUATIONS + 101):
        lines += [
            ("step", {"step": step, "loss": 1.0}),
            ("evaluation", {"step": step, "mean_iou": step / 2000}),
        ]
    append(runs, run, lines, at_once=500)
    append(runs, other, [("evaluation", {"step": 7, "mean_iou": 0.25})])
    recorded = runs.figures.evaluations(run)
    assert [values["step"] for values in recorded] == list(range(101, MAX_EVALUATIONS + 101))
    points = runs.figures.curves(run, points=10).evaluations["mean_iou"]
    assert [(point.step, point.value) for point in points] == [
        (values["step"], values["mean_iou"]) for values in recorded
    ]


def test_steps_trained_again__replace_what_was_recorded_of_them(runs: Runs) -> None:
    run = queued(runs)
    first = dict.fromkeys(range(1, 5001), 1.0)
    first[4321] = 1e6
    append(runs, run, [*steps_of(first), ("evaluation", {"step": 4500, "mean_iou": 0.9})])
    started: Line = ("event", {"event": "started", "step": 4000, "steps": 6000})
    append(runs, run, [started])
    assert max(loss(runs.figures.curves(run, points=5000))) == 4000
    assert runs.figures.latest([run])[run].step == {"step": 4000, "loss": 1.0}
    assert runs.figures.latest([run])[run].evaluation is None
    assert runs.figures.curves(run, points=5000).evaluations == {}
    append(runs, run, steps_of(dict.fromkeys(range(4001, 4101), 2.0)))
    append(runs, run, [("evaluation", {"step": 4050, "mean_iou": 0.5})])
    curves = runs.figures.curves(run, points=5000)
    assert max(loss(curves).values()) == 2.0
    assert loss(curves)[4100] == 2.0
    assert [(point.step, point.value) for point in curves.evaluations["mean_iou"]] == [(4050, 0.5)]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_curves__equal_a_plain_reading_of_the_records(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever is resumed from where, and however the records come in."""
    interval = data.draw(st.sampled_from([1, 7, 500]))
    expected: dict[int, float] = {}
    lines: list[Line] = []
    for start in range(data.draw(st.integers(1, 4))):
        last = max(expected, default=0)
        begin = data.draw(st.integers(0, last))
        expected = {step: value for step, value in expected.items() if step <= begin}
        if data.draw(st.booleans()):
            lines.append(("event", {"event": "started", "step": begin}))
        for number in range(data.draw(st.integers(1, 2500))):
            step = (begin // interval + number + 1) * interval
            expected[step] = random.Random(f"{start} {step}").gauss(0, 1)
            lines.append(("step", {"step": step, "loss": expected[step]}))
    with Database(tmp_path_factory.mktemp("runs"), fill=sum_up_everything) as database:
        runs = Runs(database)
        run = queued(runs)
        append(runs, run, lines, at_once=data.draw(st.sampled_from([101, 1000])))
        kept = loss(runs.figures.curves(run, points=5000))
        latest = runs.figures.latest([run])[run].step
    assert all(expected[step] == value for step, value in kept.items())
    assert min(kept) == min(expected)
    assert max(kept) == max(expected)
    assert min(kept.values()) == min(expected.values())
    assert max(kept.values()) == max(expected.values())
    assert latest == {"step": max(expected), "loss": expected[max(expected)]}
    if max(expected) < SPANS:
        assert kept == expected


def test_what_is_no_figure__is_left_out(runs: Runs) -> None:
    run = queued(runs)
    odd: list[Line] = [
        ("step", {"step": 1, "loss": None, "note": "text", "flag": True, "rate": 2}),
        ("step", {"step": "2", "loss": 1.0}),
        ("step", {"step": -3, "loss": 1.0}),
        ("step", {"step": True, "loss": 1.0}),
        ("step", {"loss": 1.0}),
        ("step", {"step": 10**400, "loss": 1.0}),
        ("step", {"step": 2**53, "huge": 10**400, "rate": 3}),
        ("evaluation", {"step": "x", "mean_iou": 1.0}),
        ("evaluation", {"mean_iou": 1.0}),
    ]
    append(runs, run, odd)
    curves = runs.figures.curves(run, points=10)
    assert {name: list(points) for name, points in curves.steps.items()} == {"rate": [(1, 2.0), (2**53, 3.0)]}
    assert curves.evaluations == {}
    assert figures_of({f"figure {number}": 1 for number in range(1000)})[63:] == [("figure 63", 1.0)]


def test_a_deleted_run__leaves_no_figures(runs: Runs, tmp_path: Path) -> None:
    run = queued(runs)
    append(runs, run, steps_of({1: 1.0}))
    runs.delete(run, tenant="default")
    with sqlite3.connect(tmp_path / "runs.sqlite") as connection:
        for table in ("figures", "summaries", "events"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


def test_a_database_of_the_first_version__is_summed_up_when_it_is_opened(tmp_path: Path) -> None:
    values = {step: math.cos(step) for step in range(1, 2501)}
    with sqlite3.connect(tmp_path / "runs.sqlite") as connection:
        connection.executescript(FIRST_VERSION)
        connection.execute(
            "INSERT INTO runs (id, tenant, curation, configuration, state, created_at, queued_at) "
            "VALUES ('run_1', 'default', 'c', '{}', 'completed', 0, 0)"
        )
        rows = [(number, json.dumps(line)) for number, (_, line) in enumerate(steps_of(values), 1)]
        connection.executemany("INSERT INTO events VALUES ('run_1', ?, 0, 'step', ?)", rows)
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Database(tmp_path, fill=sum_up_everything) as database:
        curves = Runs(database).figures.curves("run_1", points=5000)
        assert loss(curves) == values
    with Database(tmp_path, fill=lambda _: pytest.fail("summed up twice")) as database:
        assert loss(Runs(database).figures.curves("run_1", points=5000)) == values


@pytest.mark.parametrize("descending", [False, True])
def test_pages_of_runs__have_each_run_once_by_curation_and_order(runs: Runs, descending: bool) -> None:
    ids = [queued(runs, curation=f"c{number % 3}") for number in range(20)]
    queued(runs, curation="c1", tenant="another")
    listed, after = [], None
    while True:
        page, after = runs.list_page(
            tenant="default", after=after, limit=3, curation="c1", descending=descending
        )
        listed += [record.id for record in page]
        if after is None:
            break
    assert listed == (ids[1::3][::-1] if descending else ids[1::3])
