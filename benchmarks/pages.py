"""A page of every kind: what tests hold against axe, and what pictures are made of."""

from __future__ import annotations

import re
from itertools import islice
from urllib.parse import quote

from cocu.client import CocuClient
from cocu.dashboard import links
from cocu.dashboard.pages import ROUTES
from cocu.schemas import Curation

__all__ = ["NOT_SHOWN", "kinds", "route_of"]

NOT_SHOWN = frozenset({"/curations/{curation}/cancel"})
"""Pages that a finished curation does not have."""
LASSO = "cJQgy_DSkOIw8kCcwNrwVUCcgD7QhNCE"
"""Corners on the right of a map."""


def kinds(
    client: CocuClient, curation: Curation, *, other: str, key: str | None = None, run: str | None = None
) -> dict[str, str]:
    """The path of a page of every kind, by the name of the kind; kinds that have no route are left out.

    other: a curation of the same dataset, to compare with. key: of the archive that is inspected; by default
    that which gained most. run: a run of the training service, where the dashboard has one.
    """
    dataset, home = links.dataset(curation.dataset), links.curation(curation.id)
    gained = client.archives.card_page(curation.id, order="-gain", limit=1).items[0].key
    concept = next(islice(client.concepts.list(curation.id, order="added", limit=1), 1)).concept
    labels = next(client.labels.list(curation.dataset, limit=1), None)
    seen_by = "" if labels is None else f"&labels={labels.name}"
    pages = {
        "overview": "/",
        "dataset": dataset,
        "report": f"{dataset}?tab=report",
        "uploads": f"{dataset}?tab=uploads",
        "curations": f"{dataset}?tab=curations",
        "curate": f"{dataset}/curate",
        "curation": home,
        "grid": f"{home}/archives?in=added&order=-gain",
        "inspector": f"{home}/archives/{links.segment(key or gained)}?in=added&order=-gain",
        "labelled": f"{home}/archives/{links.segment(key or gained)}?in=added{seen_by}&order=-gain",
        "labelled-grid": f"{home}/archives?in=added{seen_by}&order=-gain",
        "concept": links.concept(curation.id, concept),
        "map": f"{home}/map",
        "map-selection": f"{home}/map?color=gain&lasso={LASSO}",
        "audit": links.audit(curation.id),
        "compare": f"{home}/compare",
        "comparison": f"{home}/compare/{other}",
        "vocabulary": f"/vocabularies/{curation.vocabulary}",
        "vocabulary-edit": links.vocabulary_text(curation.vocabulary),
        "vocabulary-delete": links.vocabulary_deletion(curation.vocabulary),
        "search": f"/search?dataset={curation.dataset}&text={quote(concept)}",
        "training": "/training",
        "settings": "/settings",
    }
    if run is not None:
        pages["training-run"] = links.training_run(run)
    return {name: path for name, path in pages.items() if route_of(path) is not None}


def route_of(path: str) -> str | None:
    """The route of the page at a path; None where the dashboard has none."""
    path, _, _ = path.partition("?")
    for route, methods, _ in ROUTES:
        pattern = re.sub(r"\{\w+\}", "[^/]+", re.sub(r"\{\w+:path\}", ".+", route))
        if "GET" in methods and re.fullmatch(pattern, path):
            return route
    return None
