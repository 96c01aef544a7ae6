"""The lasso encloses what a slow and exact rule says."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.projections.polygon import enclosed

Corner = tuple[int, int]

numbers = st.one_of(st.integers(0, 65_535), st.integers(0, 6), st.sampled_from([0, 65_535]))
corners = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=64)
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40)


def encloses(polygon: list[Corner], x: int, y: int) -> bool:
    """The even–odd rule, one edge after another, in fractions."""
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < Fraction((x2 - x1) * (y - y1), y2 - y1) + x1:
            inside = not inside
    return inside


def encloses_in_floats(polygon: list[Corner], x: int, y: int) -> bool:
    """The same in 64-bit floats, as a browser does it."""
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (y1 > y) != (y2 > y) and float(x) < float((x2 - x1) * (y - y1)) / float(y2 - y1) + float(x1):
            inside = not inside
    return inside


@settings(max_examples=300, deadline=None)
@given(polygon=corners, places=points)
def test_enclosed__is_the_even_odd_rule_exactly(polygon: list[Corner], places: list[Corner]) -> None:
    # Corners of the polygon are points too: these lie on edges.
    x_P, y_P = np.array([*places, *polygon], np.uint16).T
    inside_P = enclosed(x_P, y_P, polygon)

    everywhere = list(zip(x_P.tolist(), y_P.tolist(), strict=True))
    assert inside_P.tolist() == [encloses(polygon, x, y) for x, y in everywhere]
    assert inside_P.tolist() == [encloses_in_floats(polygon, x, y) for x, y in everywhere]


def test_enclosed__a_polygon_that_crosses_itself_leaves_out_its_middle() -> None:
    star = [(50, 100), (80, 5), (2, 65), (98, 65), (20, 5)]
    x_P, y_P = np.array([(50, 50), (50, 90)], np.uint16).T

    assert enclosed(x_P, y_P, star).tolist() == [False, True]


def test_enclosed__less_than_three_corners_enclose_nothing() -> None:
    x_P = np.arange(10, dtype=np.uint16)

    assert not enclosed(x_P, x_P, [(0, 0), (65_535, 65_535)]).any()
    assert not enclosed(x_P, x_P, []).any()
