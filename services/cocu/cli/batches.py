"""`cocu batches head`: the first samples of an epoch, as a trainer gets them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Raw, Server, Temperature, TextsPerSample
from cocu.cli.output import console, count, print_json
from cocu.client import BatchRequest, CocuClient

Sampler = Literal["cluster", "topk", "uniform", "caption"]

app = typer.Typer(help="Batches: curated samples as trainers get them.", no_args_is_help=True)


@app.command()
def head(
    *,
    curation: Annotated[str, typer.Argument(help="Id of the curation.")],
    samples: Annotated[int, typer.Option(min=1, max=1000, help="How many samples to show.")] = 8,
    seed: Annotated[
        int, typer.Option(min=0, help="Changes the order of samples and the concepts drawn.")
    ] = 0,
    epoch: Annotated[int, typer.Option(min=0, help="As the seed.")] = 0,
    concepts: TextsPerSample = 3,
    sampler: Annotated[Sampler, typer.Option(help="Where concepts are drawn from.")] = "cluster",
    temperature: Temperature = 1.0,
    raw: Raw = False,
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
        # Only the first batch; without prefetch the platform computes no other.
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
