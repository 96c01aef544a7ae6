"""The rooms and the arrows between them, as docs/architecture.md draws them and as they are imported."""

from __future__ import annotations

import re
from collections import defaultdict

import grimp

Arrows = set[tuple[str, str]]

ALONE = {"platform"}
"""A module that is a room by itself."""
TRAINING = "cocu_training"


def drawn(page: str) -> Arrows:
    """The arrows of the page's first Mermaid graph."""
    graph = re.findall(r"^```mermaid\nflowchart TB\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[0]
    arrows: Arrows = set()
    for line in graph.splitlines():
        if "-->" in line:
            sources, targets = (re.findall(r"\w+", side) for side in line.split("-->"))
            arrows |= {(source, target) for source in sources for target in targets}
    return arrows


def imported() -> Arrows:
    """Which room imports which, without those that follow from others (a → c where a → b → c)."""
    graph = grimp.build_graph("cocu", TRAINING)
    packages = {module for module in graph.find_children("cocu") if graph.find_children(module)}
    rooms = {module.removeprefix("cocu.") for module in packages} | ALONE | {TRAINING}
    known: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            source, target = _room(module), _room(other)
            if source != target and {source, target} <= rooms:
                known[source].add(target)
    return {
        (source, target)
        for source, targets in list(known.items())
        for target in targets
        if not any(target in _reached(known, other) for other in targets - {target})
    }


def _room(module: str) -> str:
    root, _, rest = module.partition(".")
    return root if root == TRAINING else rest.partition(".")[0]


def _reached(known: dict[str, set[str]], source: str) -> set[str]:
    reached: set[str] = set()
    waiting = [source]
    while waiting:
        for target in known.get(waiting.pop(), set()) - reached:
            reached.add(target)
            waiting.append(target)
    return reached


def mermaid(arrows: Arrows) -> str:
    """The arrows as lines of a graph."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for source, target in sorted(arrows):
        by_source[source].append(target)
    return "\n".join(f"    {source} --> {' & '.join(targets)}" for source, targets in by_source.items())


if __name__ == "__main__":
    print(mermaid(imported()))
