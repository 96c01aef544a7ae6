"""Nearest neighbours in bulk, and the duplicates among them."""

from __future__ import annotations

from cocu.neighbours.duplicates import DistinctNeighbours, Duplicates, distinct_neighbours, group_duplicates
from cocu.neighbours.exact import Neighbours, available_engine, top_neighbours
from cocu.neighbours.incremental import extend_neighbours

__all__ = [
    "DistinctNeighbours",
    "Duplicates",
    "Neighbours",
    "available_engine",
    "distinct_neighbours",
    "extend_neighbours",
    "group_duplicates",
    "top_neighbours",
]
