"""`cocu index …`: the vector store, which is a copy of what the files hold."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from cocu.cli.failures import CommandFailedError
from cocu.cli.options import Json
from cocu.cli.output import console, count, print_json, stage_bars

if TYPE_CHECKING:
    from cocu.platform import Platform
    from cocu.storage.catalog.indexing import EmbeddedShard
    from cocu.workers.rebuilding import Advance, Rebuilt

app = typer.Typer(help="The vector store, which searches are answered from.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Makes `rebuild` a command of its own although it is the only one."""


@app.command()
def rebuild(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="Id or name of a dataset, put into the collections in use; without it all datasets are put "
            "into new collections, which then take their place.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Name or hash of an encoder; without it all are rebuilt.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Make the vector store at COCU_VECTORS_URL again from the files of the platform.

    Searches and curations may go on meanwhile. Nothing is lost where it is interrupted; doing it again comes
    to the same. In a folder, stop `cocu serve` first: it is for one process at a time.
    """
    # The server is imported only where a command is one.
    from cocu.platform import Platform  # noqa: PLC0415
    from cocu.settings import Settings  # noqa: PLC0415
    from cocu.storage.catalog import indexing  # noqa: PLC0415
    from cocu.workers import rebuilding  # noqa: PLC0415

    began = time.monotonic()
    with Platform.open(Settings()) as platform, stage_bars() as bars:
        dataset_id = None if dataset is None else indexing.find_dataset(platform.catalog, dataset=dataset)[1]
        planned = _chosen(platform, rebuilding.planned(platform, dataset_id=dataset_id), encoder)
        run = rebuilding.rebuild_encoder if dataset is None else rebuilding.rebuild_dataset
        advance = _advance(platform, bars, planned)
        done = [run(platform, shards, encoder_hash=of, advance=advance) for of, shards in planned.items()]
    _tell(done, time.monotonic() - began, json=json)


def _chosen(
    platform: Platform, planned: dict[str, list[EmbeddedShard]], encoder: str | None
) -> dict[str, list[EmbeddedShard]]:
    if encoder is None:
        return planned
    # By its hash without a look at the encoders themselves, which may be away.
    wanted = encoder if encoder in planned else platform.encoders.describe(encoder).hash
    if wanted not in planned:
        raise CommandFailedError(f"nothing is embedded by encoder {encoder!r}; there is nothing to rebuild")
    return {wanted: planned[wanted]}


def _advance(platform: Platform, bars: Progress, planned: dict[str, list[EmbeddedShard]]) -> Advance:
    tasks = {
        of: bars.add_task(of[:12], total=sum(shard.samples for shard in shards))
        for of, shards in planned.items()
    }
    return lambda of, samples: bars.advance(tasks[of], samples)


def _tell(done: list[Rebuilt], seconds: float, *, json: bool) -> None:
    if json:
        print_json({"encoders": [asdict(each) for each in done], "seconds": round(seconds, 3)})
    for each in () if json else done:
        shown = f"encoder {each.encoder_hash[:12]}: {count(each.samples, 'sample')} of "
        console.print(shown + f"{count(each.shards, 'shard')} in the vector store")
        for shard, why in each.failed.items():
            console.print(f"[yellow]left out shard {shard}:[/] {why}")
    if not done and not json:
        console.print("nothing is embedded yet; there is nothing to rebuild")
    failed = sum(len(each.failed) for each in done)
    if failed:
        raise CommandFailedError(f"{count(failed, 'shard')} could not be read; searches do not find them")
