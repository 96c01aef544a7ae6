"""`cocu search`: samples by text, by image, or by another sample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.failures import CommandFailedError
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.client import CocuClient
from cocu.client.models import Dataset, Facet, SearchHit
from cocu.client.search import encoded, search_request

MOST_SHOWN = 5
"""Concepts of a hit that are shown."""


def search(
    *,
    text: Annotated[str | None, typer.Argument(help="What to look for.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Look for what is like this picture.")
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Look for what is like the sample of this key.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Id or name of the dataset; not needed where there is one.")
    ] = None,
    curation: Annotated[
        str | None, typer.Option(help="Id of a curation: show its archives' concepts, and filter by them.")
    ] = None,
    caption_has: Annotated[
        list[str] | None, typer.Option(help="Only where the caption names this concept; may be repeated.")
    ] = None,
    archive_has: Annotated[
        list[str] | None, typer.Option(help="Only where the archive holds this concept; may be repeated.")
    ] = None,
    added: Annotated[
        bool | None,
        typer.Option("--added/--named", help="Only concepts that the caption does not name, or does."),
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Only concepts that score at least this.")] = None,
    facets: Annotated[int, typer.Option(min=0, max=100, help="Count this many concepts of the hits.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most hits to show.")] = 10,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Find samples by text, by image or by another sample, nearest first."""
    given: dict[str, Any] = {"text": text, "sample": sample, "curation": curation, "facets": facets or None}
    given["image"] = None if image is None else encoded(image)
    given["limit"] = min(limit, 200)
    filters = {"caption": caption_has, "archive": archive_has, "added": added, "min_score": min_score}
    given["filters"] = {name: each for name, each in filters.items() if each is not None}
    with CocuClient(server, api_key) as client:
        request = search_request(dataset=_dataset(client, dataset, curation), **given)
        first = client.search.page(request)
        rest = request.model_copy(update={"cursor": first.next})
        more = client.search.hits(rest) if first.next is not None else iter(())
        hits = [*first.items, *islice(more, limit - len(first.items))][:limit]
    if json:
        print_json({"encoder": first.encoder, "hits": hits, "facets": first.facets})
        return
    for part in _parts(hits, first.facets, with_concepts=curation is not None):
        console.print(part)


def _dataset(client: CocuClient, wanted: str | None, curation: str | None) -> str:
    """The id of the dataset to search: the one named, that of the curation, or the only one."""
    if wanted is None and curation is not None:
        return client.curations.get(curation).dataset
    there: list[Dataset] = list(client.datasets.list())
    found = [each for each in there if wanted in (None, each.id, each.name)]
    if len(found) == 1:
        return found[0].id
    names = ", ".join(each.name for each in there[:10]) or "none"
    if wanted is None:
        raise CommandFailedError(f"say which dataset to search with --dataset; there are: {names}")
    raise CommandFailedError(f"there is no dataset {wanted!r}; there are: {names}")


def _parts(hits: list[SearchHit], facets: list[Facet], *, with_concepts: bool) -> Iterator[RenderableType]:
    columns = ("key", "similarity", *(["concepts"] if with_concepts else []), "caption")
    yield table(None, columns, [_row(hit, with_concepts) for hit in hits])
    if not hits:
        yield Text("nothing was found")
    if facets:
        yield Text()
        title = "Concepts of the nearest archives"
        yield table(title, ("concept", "hits"), [(escape(each.concept), each.hits) for each in facets])
    yield Text(count(len(hits), "hit"), style="dim")


def _row(hit: SearchHit, with_concepts: bool) -> tuple[str, ...]:
    concepts = ", ".join(
        f"[{'green' if each.added else 'default'}]{escape(each.concept)}[/]"
        for each in hit.concepts[:MOST_SHOWN]
    )
    shown = (concepts,) if with_concepts else ()
    return (escape(hit.key), f"{hit.similarity:.3f}", *shown, escape(" ".join(hit.caption.split())))
