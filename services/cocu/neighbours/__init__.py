"""Nearest neighbours in bulk, exactly, and the copies among them."""

from __future__ import annotations

from cocu.neighbours.duplicates import DistinctNeighbours, Duplicates, distinct_neighbours, group_duplicates
from cocu.neighbours.growing import grown_neighbours
from cocu.neighbours.search import Neighbours, available_engine, top_neighbours

__all__ = [
    "DistinctNeighbours",
    "Duplicates",
    "Neighbours",
    "available_engine",
    "distinct_neighbours",
    "group_duplicates",
    "grown_neighbours",
    "top_neighbours",
]
