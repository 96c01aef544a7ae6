"""Archives of a curation: one, lists, cards, counts, and what is adjacent in a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict, Unpack

from cocu.client.transport import Params, Transport, segment
from cocu.schemas import (
    AdjacentArchives,
    Archive,
    ArchiveCard,
    ArchiveDetail,
    ArchiveDraws,
    ArchiveFacets,
    ArchiveOrder,
    Page,
    VerdictChoice,
)


class ArchiveFilters(TypedDict, total=False):
    """Which archives are selected: those that satisfy all of these. None is no condition.

    concept: a name or several; the archive has these concepts. added: the sample's own caption does not
    (True) or does (False) name each of these; without `concept`, at least one concept of the archive.
    min_score: these concepts, or that one, score at least this. changed: the neighbours are (True) or are not
    (False) different from those in the curation before the dataset grew. lasso, projection: the point of the
    image on this map is in a polygon, as the platform's documentation describes it. region, projection: it is
    of this region. labels: the name of labels that the dataset keeps, by which concepts get a verdict.
    verdict: these concepts, or at least one, are right ("hit") or wrong ("false") by them; or the archive
    lacks a label ("missed").
    """

    concept: str | Sequence[str] | None
    added: bool | None
    min_score: float | None
    changed: bool | None
    lasso: str | None
    projection: str | None
    region: int | None
    labels: str | None
    verdict: VerdictChoice | None


class Archives:
    """`client.archives`. What methods take as `filters` are the arguments of `ArchiveFilters`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        curation: str,
        *,
        order: ArchiveOrder | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        **filters: Unpack[ArchiveFilters],
    ) -> Iterator[Archive]:
        """The archives of a curation, complete, at most `limit`, fetched in pages of `page_size`.

        order: by default that of samples (see `ArchiveOrder`).
        """
        params = _params(filters) | {"order": order}
        return self._transport.pages(
            Archive, _path(curation), params=params, limit=limit, page_size=page_size
        )

    def cards(
        self,
        curation: str,
        *,
        order: ArchiveOrder | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        **filters: Unpack[ArchiveFilters],
    ) -> Iterator[ArchiveCard]:
        """The same list as cards: what a grid shows of each archive, a few hundred bytes."""
        params = _params(filters) | {"order": order, "view": "card"}
        return self._transport.pages(
            ArchiveCard, _path(curation), params=params, limit=limit, page_size=page_size
        )

    def card_page(
        self,
        curation: str,
        *,
        order: ArchiveOrder | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        **filters: Unpack[ArchiveFilters],
    ) -> Page[ArchiveCard]:
        """One page of cards; `next` of it is the `cursor` of the following page."""
        params = _params(filters)
        params |= {"order": order, "view": "card", "cursor": cursor, "limit": limit}
        return self._transport.get(Page[ArchiveCard], _path(curation), params=params)

    def facets(
        self,
        curation: str,
        *,
        top: int | None = None,
        **filters: Unpack[ArchiveFilters],
    ) -> ArchiveFacets:
        """Count the selected archives: in total, by concept (at most `top`), by score and by gain."""
        params = _params(filters) | {"top": top}
        return self._transport.get(ArchiveFacets, f"/v1/curations/{segment(curation)}/facets", params=params)

    def adjacent(
        self,
        curation: str,
        key: str,
        *,
        order: ArchiveOrder | None = None,
        **filters: Unpack[ArchiveFilters],
    ) -> AdjacentArchives:
        """The keys before and after an archive in the list with these filters, and its position there."""
        params = _params(filters) | {"order": order}
        path = f"{_path(curation)}/{segment(key)}/adjacent"
        return self._transport.get(AdjacentArchives, path, params=params)

    def get(self, curation: str, key: str, *, labels: str | None = None) -> ArchiveDetail:
        """The archive of one sample, with what explains it: see `ArchiveDetail`.

        labels: the name of labels that the dataset keeps, for verdicts.
        """
        path = f"{_path(curation)}/{segment(key)}"
        return self._transport.get(ArchiveDetail, path, params={"labels": labels})

    def draws(
        self,
        curation: str,
        key: str,
        *,
        seed: int = 0,
        epoch: int = 0,
        epochs: int = 5,
        concepts: int = 3,
        sampler: str = "cluster",
        temperature: float = 1.0,
        prompts: str = "templates",
        templates: Sequence[str] = (),
    ) -> ArchiveDraws:
        """What a trainer sees of one sample in at most 20 epochs from `epoch` on, and how likely.

        The other parameters are those of a `BatchRequest`.
        """
        params: Params = {
            "seed": seed,
            "epoch": epoch,
            "epochs": epochs,
            "concepts": concepts,
            "sampler": sampler,
            "temperature": temperature,
            "prompts": prompts,
            "template": [*templates] or None,
        }
        path = f"{_path(curation)}/{segment(key)}/draws"
        return self._transport.get(ArchiveDraws, path, params=params)


def _params(filters: ArchiveFilters) -> dict[str, Any]:
    concepts = filters.get("concept")
    if concepts is not None and not isinstance(concepts, str):
        # `or None`: an empty list is no filter, and httpx would send it as an empty text.
        concepts = list(concepts) or None
    return {**filters, "concept": concepts}


def _path(curation: str) -> str:
    return f"/v1/curations/{segment(curation)}/archives"
