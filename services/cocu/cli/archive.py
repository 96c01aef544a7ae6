"""`cocu archive show`: one archive, with where each concept came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json, table
from cocu.client import CocuClient
from cocu.client.models import Archive, ArchiveConcept

app = typer.Typer(
    help="Archives: the concepts of an image, ranked, and where they came from.", no_args_is_help=True
)

MOST_ORIGINS = 3


@app.command()
def show(
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    key: Annotated[str, typer.Argument(help="Key of the sample.")],
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show the archive of one sample."""
    with CocuClient(server, api_key) as client:
        archive = client.archives.get(curation, key)
    if json:
        print_json(archive)
        return
    for part in _parts(archive):
        console.print(part)


def _parts(archive: Archive) -> Iterator[RenderableType]:
    yield Text(f"{archive.key}: “{' '.join(archive.caption.split())}”", style="bold")
    columns = ("concept", "score", "global", "local", "cluster", "named by")
    yield table(None, columns, [_row(concept) for concept in archive.concepts])
    if not archive.concepts:
        yield Text("no concept of the vocabulary is named by this caption or those of its neighbours")


def _row(concept: ArchiveConcept) -> tuple[str, ...]:
    colour = "green" if concept.added else "default"
    origins = ["own caption" if each.kind == "own_caption" else escape(each.key) for each in concept.origins]
    more = len(origins) - MOST_ORIGINS
    named_by = ", ".join(origins[:MOST_ORIGINS]) + (f" and {more} more" if more > 0 else "")
    return (
        f"[{colour}]{escape(concept.concept)}[/]",
        f"{concept.score:.3f}",
        f"{concept.global_score:.3f}",
        f"{concept.local_score:.3f}",
        "–" if concept.cluster is None else str(concept.cluster),
        named_by,
    )
