"""`cocu curation …` and `cocu events`: what runs, what failed, what happens."""

from __future__ import annotations

from typing import Annotated

import typer

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, count, print_json, table
from cocu.cli.uploads import find_dataset
from cocu.client import CocuClient
from cocu.schemas import Curation, CurationState

app = typer.Typer(help="Curations: list, look why tasks failed, cancel.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="CURATION", help="Id of the curation.")]


@app.command("list")
def list_(
    state: Annotated[CurationState | None, typer.Option(help="Only those in this state.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those of this dataset, by id or name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most curations to list.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List curations, newest first."""
    with CocuClient(server, api_key) as client:
        states = () if state is None else (state,)
        chosen = None if dataset is None else find_dataset(client, dataset).id
        curations = list(
            client.curations.list(dataset=chosen, state=states, order="-created_at", limit=limit)
        )
    if json:
        print_json(curations)
        return
    rows = [
        (curation.id, curation.state, _progress(curation), f"{curation.created_at:%Y-%m-%d %H:%M}")
        for curation in curations
    ]
    console.print(table(None, ("id", "state", "progress", "created"), rows))


@app.command("failures")
def failures(
    curation: Id, server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False
) -> None:
    """List the tasks of a curation that failed: given up, or to be tried again."""
    with CocuClient(server, api_key) as client:
        failed = list(client.curations.failures(curation))
    if json:
        print_json(failed)
        return
    rows = [
        (
            task.stage,
            task.shard or "all",
            str(task.attempts),
            "given up" if task.given_up else f"{task.next_attempt:%H:%M:%S}" if task.next_attempt else "now",
            task.reason,
        )
        for task in failed
    ]
    console.print(table(None, ("stage", "shard", "attempts", "next attempt", "reason"), rows))


@app.command("cancel")
def cancel(curation: Id, server: Server = DEFAULT_SERVER, api_key: ApiKey = None) -> None:
    """Cancel a curation that runs; one that has ended stays as it is."""
    with CocuClient(server, api_key) as client:
        client.curations.cancel(curation)
        console.print(client.curations.get(curation).state)


def events(
    after: Annotated[int | None, typer.Option(min=0, help="Begin after the event of this id.")] = None,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
) -> None:
    """Follow what happens to curations and uploads, a line of JSON for each event, until Ctrl-C."""
    with CocuClient(server, api_key) as client:
        for event in client.events(after=after):
            print(event.model_dump_json(), flush=True)


def _progress(curation: Curation) -> str:
    if curation.stage is None:
        return count(curation.samples, "sample")
    done = f"{curation.stage}: {curation.samples_done or 0:,} of {curation.samples:,}"
    left = curation.remaining_seconds
    return done if left is None else f"{done}, {left:,.0f} s left"
