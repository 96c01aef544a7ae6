"""The learning rate: the reference's worked numbers, and what a schedule is for any run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from cocu_training.configuration import TrainingConfiguration
from cocu_training.loop.schedule import Schedule


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1.0e-6),
        (2_687, 2.00500e-4),
        (5_373, 3.99926e-4),
        (5_374, 3.95739e-4),
        (40_305, 2.05000e-4),
        (80_609, 1.0e-5),
    ],
)
def test_the_worked_example(step: int, rate: float) -> None:
    schedule = Schedule.of(TrainingConfiguration.small(), steps=80_610)
    assert schedule.warm_up == 5_374
    assert schedule.rate(step) == pytest.approx(rate, rel=1e-5)


@given(steps=st.integers(1, 500), warm_up=st.floats(0, 0.99), place=st.floats(0, 1))
def test_every_rate_lies_between_the_lowest_and_the_peak(steps: int, warm_up: float, place: float) -> None:
    configuration = TrainingConfiguration.scenes().with_(warm_up=warm_up)
    schedule = Schedule.of(configuration, steps=steps)
    rate = schedule.rate(int(place * (steps - 1)))
    assert 0 < min(schedule.first, schedule.last) <= rate <= schedule.peak * (1 + 1e-12)
