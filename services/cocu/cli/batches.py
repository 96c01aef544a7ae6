"""`cocu batches head`: the first samples of an epoch, as a trainer would get them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json
from cocu.client import BatchRequest, CocuClient

app = typer.Typer(help="Batches: curated samples as trainers get them.", no_args_is_help=True)


@app.command()
def head(
    *,
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    samples: Annotated[int, typer.Option(min=1, max=1000, help="How many samples to show.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another order and draw.")] = 0,
    epoch: Annotated[int, typer.Option(min=0, help="Likewise.")] = 0,
    concepts: Annotated[int, typer.Option(min=1, help="Texts of every sample.")] = 3,
    sampler: Annotated[str, typer.Option(help="cluster, topk, uniform or caption.")] = "cluster",
    temperature: Annotated[float, typer.Option(help="Low draws the best, high draws evenly.")] = 1.0,
    raw: Annotated[bool, typer.Option("--raw", help="Concepts alone, not in templates.")] = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Show the first samples of an epoch with the concepts drawn for them."""
    request = BatchRequest(
        seed=seed,
        epoch=epoch,
        concepts=concepts,
        sampler=sampler,
        temperature=temperature,
        prompts="raw" if raw else "templates",
        global_batch=samples,
        images=False,
        include_scores=True,
    )
    with CocuClient(server, api_key) as client:
        batches = client.batches.stream(curation, request, prefetch=0)
        # One batch is all that is wanted, and all that the platform makes.
        rows = [row for batch in islice(batches, 1) for row in batch.table.to_pylist()]
        batches.close()
    for row in rows:
        if json:
            print_json(row)
        else:
            for part in _parts(row):
                console.print(part)
    if not json:
        console.print(f"{count(len(rows), 'sample')}, in the order of epoch {epoch} with seed {seed}")


def _parts(row: dict[str, Any]) -> Iterator[RenderableType]:
    yield Text(f"{row['key']}  “{' '.join(row['caption'].split())}”", style="bold", overflow="ellipsis")
    for concept, score, text in zip(row["concepts"], row["scores"], row["texts"], strict=False):
        yield Text.from_markup(f"  [green]{escape(concept)}[/] {score:.3f}  {escape(text)}")
    missing = len(row["texts"]) - row["drawn"]
    if missing:
        yield Text(f"  the caption {count(missing, 'time')} more, as the archive has no other concepts")
