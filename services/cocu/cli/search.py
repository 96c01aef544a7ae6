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
from cocu.cli.uploads import find_dataset, join_names
from cocu.client import CocuClient
from cocu.client.search import encode_image, make_search_request
from cocu.schemas import Facet, SearchHit

MAX_CONCEPTS = 5
"""Concepts shown per hit."""


def search(
    *,
    text: Annotated[str | None, typer.Argument(help="Text to search for.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Find samples similar to this image.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Find samples similar to the sample with this key.")
    ] = None,
    vector: Annotated[
        str | None, typer.Option(help="Search again by the vector of an earlier search (--json shows it).")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Id or name of the dataset; not needed if there is only one.")
    ] = None,
    curation: Annotated[
        str | None, typer.Option(help="Id of a curation: show its archives' concepts, and filter by them.")
    ] = None,
    caption_has: Annotated[
        list[str] | None, typer.Option(help="Only samples whose caption names this concept; may be repeated.")
    ] = None,
    archive_has: Annotated[
        list[str] | None,
        typer.Option(help="Only samples whose archive contains this concept; may be repeated."),
    ] = None,
    added: Annotated[
        bool | None,
        typer.Option(
            "--added/--named", help="Only concepts that the caption does not name, or that it names."
        ),
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Only concepts that score at least this.")] = None,
    facets: Annotated[int, typer.Option(min=0, max=100, help="Count this many concepts of the hits.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of hits.")] = 10,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Find samples by text, by image or by another sample, nearest first."""
    fields: dict[str, Any] = {"text": text, "sample": sample, "vector": vector, "curation": curation}
    fields["facets"] = facets or None
    fields["image"] = None if image is None else encode_image(image)
    fields["limit"] = min(limit, 200)
    filters = {"caption": caption_has, "archive": archive_has, "added": added, "min_score": min_score}
    fields["filters"] = {name: value for name, value in filters.items() if value is not None}
    with CocuClient(server, api_key) as client:
        request = make_search_request(dataset=_dataset(client, dataset, curation), **fields)
        first = client.search.page(request)
        rest = request.model_copy(update={"cursor": first.next})
        others = client.search.hits(rest) if first.next is not None else iter(())
        hits = [*first.items, *islice(others, limit - len(first.items))][:limit]
    if json:
        print_json({"encoder": first.encoder, "vector": first.vector, "hits": hits, "facets": first.facets})
        return
    for part in _parts(hits, first.facets, with_concepts=curation is not None):
        console.print(part)


def _dataset(client: CocuClient, dataset: str | None, curation: str | None) -> str:
    """The id of the dataset to search: the named one, that of the curation, or the only one."""
    if dataset is not None:
        return find_dataset(client, dataset).id
    if curation is not None:
        return client.curations.get(curation).dataset
    datasets = list(client.datasets.list())
    if len(datasets) == 1:
        return datasets[0].id
    raise CommandFailedError(f"say which dataset to search with --dataset; there are: {join_names(datasets)}")


def _parts(hits: list[SearchHit], facets: list[Facet], *, with_concepts: bool) -> Iterator[RenderableType]:
    columns = ("key", "similarity", *(["concepts"] if with_concepts else []), "caption")
    yield table(None, columns, [_row(hit, with_concepts) for hit in hits])
    if not hits:
        yield Text("nothing was found")
    if facets:
        yield Text()
        title = "Concepts of the nearest archives"
        yield table(title, ("concept", "hits"), [(escape(facet.concept), facet.hits) for facet in facets])
    yield Text(count(len(hits), "hit"), style="dim")


def _row(hit: SearchHit, with_concepts: bool) -> tuple[str, ...]:
    concepts = ", ".join(
        f"[{'green' if concept.added else 'default'}]{escape(concept.concept)}[/]"
        for concept in hit.concepts[:MAX_CONCEPTS]
    )
    columns = (concepts,) if with_concepts else ()
    return (escape(hit.key), f"{hit.similarity:.3f}", *columns, escape(" ".join(hit.caption.split())))
