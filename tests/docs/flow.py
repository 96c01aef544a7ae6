"""The order of the stages, as docs/architecture.md draws it and as the table of stages says it."""

from __future__ import annotations

import re
from itertools import pairwise

from cocu.pipeline import stages

Arrow = tuple[str, str, str]
"""From, to, and the line: `-->`, or `-.->` where not every run goes this way or waits for it."""

SUBGRAPHS = {
    "upload": "upload",
    "shard": "curation",
    "curation": "curation",
    "projection": "projection",
}
"""The subgraph in which the stages on each unit are drawn. Stages on datasets (`delete`) are not drawn."""


def drawn_stages(page: str) -> dict[str, str]:
    """The subgraph of each stage that the page draws."""
    return {
        name: subgraph
        for subgraph, lines in _subgraphs(page).items()
        for line in lines
        for name in re.findall(r"\w+", line)
        if name in stages.STAGES
    }


def stages_of_table() -> dict[str, str]:
    """The subgraph of each stage, by its unit."""
    return {name: SUBGRAPHS[spec.unit] for name, spec in stages.STAGES.items() if spec.unit in SUBGRAPHS}


def drawn_order(page: str) -> set[Arrow]:
    """The arrows from stage to stage that the page draws."""
    arrows: set[Arrow] = set()
    for line in _graph(page):
        nodes = re.split(r"\s*(-->|-\.->)\s*", re.sub(r"\[.*?\]", "", line.strip()))
        for source, style, target in zip(nodes[::2], nodes[1::2], nodes[2::2], strict=False):
            if {source, target} <= set(stages.STAGES):
                arrows.add((source, target, style))
    return arrows


def order_of_table() -> set[Arrow]:
    """The arrows that follow from the table of stages."""
    uploads = [spec.name for spec in stages.STAGES.values() if spec.unit == "upload"]
    chain = stages.chain()
    always = [spec.name for spec in chain if not _is_optional(spec)]
    arrows = {(source, target, "-->") for names in (uploads, always) for source, target in pairwise(names)}
    arrows |= {
        (source.name, target.name, "-.->")
        for source, target in pairwise(chain)
        if _is_optional(source) or _is_optional(target)
    }
    return arrows | {(spec.beside, spec.name, "-.->") for spec in stages.STAGES.values() if spec.beside}


def _is_optional(spec: stages.StageSpec) -> bool:
    return spec.when is not stages.StageSpec(name="", unit="shard").when


def _graph(page: str) -> list[str]:
    [graph] = re.findall(r"^```mermaid\nflowchart LR\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(graph).splitlines()


def _subgraphs(page: str) -> dict[str, list[str]]:
    parts = re.findall(r"^    subgraph (\w+) .*?\n(.*?)^    end$", "\n".join(_graph(page)), re.S | re.M)
    return {name: lines.splitlines() for name, lines in parts}
