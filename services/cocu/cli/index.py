"""`cocu index …`: the vector store, which can be rebuilt from the files."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from cocu.cli.failures import CommandFailedError
from cocu.cli.options import Data, Json
from cocu.cli.output import console, count, print_json, stage_bars

if TYPE_CHECKING:
    from cocu.catalog.vector_state import EmbeddedShard
    from cocu.pipeline.reindex import Advance, Rebuilt
    from cocu.platform import Platform

app = typer.Typer(help="The vector store, which answers searches.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `rebuild` a subcommand: typer drops the name of an only command."""


@app.command()
def rebuild(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="Id or name of a dataset, which is written to the collections in use; without it all "
            "datasets are written to new collections, which then replace the old ones.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Name or hash of an encoder; without it, all are rebuilt.", show_default=False),
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Rebuild the vector store from the files of the platform.

    The platform is that of the data folder, or of COCU_VECTORS_URL, COCU_CATALOG_URL and COCU_OBJECTS_URL.
    Searches and curations may run meanwhile. An interruption loses nothing; run the command again. If the
    vector store is a folder, stop `cocu serve` first, because only one process can use it.
    """
    # Only commands that run a server import it.
    from cocu.catalog import vector_state  # noqa: PLC0415
    from cocu.pipeline import reindex  # noqa: PLC0415
    from cocu.platform import Platform  # noqa: PLC0415
    from cocu.settings import Settings  # noqa: PLC0415

    start = time.monotonic()
    settings = Settings.read() if data is None else Settings.read(data_folder=data)
    with Platform.open(settings) as platform, stage_bars() as bars:
        dataset_id = (
            None if dataset is None else vector_state.find_dataset(platform.catalog, dataset=dataset)[1]
        )
        shards_by_encoder = _select(
            platform, reindex.shards_by_encoder(platform, dataset_id=dataset_id), encoder
        )
        run = reindex.rebuild_encoder if dataset is None else reindex.rebuild_dataset
        advance = _advance(platform, bars, shards_by_encoder)
        results = [
            run(platform, shards, encoder_hash=encoder_hash, advance=advance)
            for encoder_hash, shards in shards_by_encoder.items()
        ]
    _print_results(results, time.monotonic() - start, json=json)


def _select(
    platform: Platform, shards_by_encoder: dict[str, list[EmbeddedShard]], encoder: str | None
) -> dict[str, list[EmbeddedShard]]:
    if encoder is None:
        return shards_by_encoder
    # A known hash needs no look at the encoders themselves, whose server may be down.
    encoder_hash = encoder if encoder in shards_by_encoder else platform.encoders.describe(encoder).hash
    if encoder_hash not in shards_by_encoder:
        raise CommandFailedError(f"nothing is embedded by encoder {encoder!r}; there is nothing to rebuild")
    return {encoder_hash: shards_by_encoder[encoder_hash]}


def _advance(
    platform: Platform, bars: Progress, shards_by_encoder: dict[str, list[EmbeddedShard]]
) -> Advance:
    tasks = {
        encoder_hash: bars.add_task(encoder_hash[:12], total=sum(shard.samples for shard in shards))
        for encoder_hash, shards in shards_by_encoder.items()
    }
    return lambda encoder_hash, samples: bars.advance(tasks[encoder_hash], samples)


def _print_results(results: list[Rebuilt], seconds: float, *, json: bool) -> None:
    if json:
        print_json({"encoders": [asdict(result) for result in results], "seconds": round(seconds, 3)})
    for result in () if json else results:
        console.print(
            f"encoder {result.encoder_hash[:12]}: {count(result.samples, 'sample')} of "
            f"{count(result.shards, 'shard')} in the vector store"
        )
        for shard, reason in result.failed.items():
            console.print(f"[yellow]left out shard {shard}:[/] {reason}")
    if not results and not json:
        console.print("nothing is embedded yet; there is nothing to rebuild")
    failed = sum(len(result.failed) for result in results)
    if failed:
        raise CommandFailedError(f"{count(failed, 'shard')} could not be read; searches do not find them")
