"""The commands, and the end of every error: one readable line, and an exit code.

Exit codes: 2 for wrong usage, 1 for a failure, 3 where only a part could be done, 130 after Ctrl-C.
Commands that only talk to a platform import nothing of the server; commands that run a server import it when
they start.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

import cocu
from cocu.cli import (
    archive,
    audit,
    batches,
    catalog,
    concepts,
    curate,
    curations,
    dashboard,
    dataset,
    demo,
    draws,
    encoder,
    evaluate,
    export,
    feedback,
    index,
    labels,
    projection,
    scenes,
    search,
    serve,
    sweeper,
    vocabulary,
    worker,
)
from cocu.cli.failures import EXPECTED_ERRORS, describe, exit_status
from cocu.cli.output import errors

app = typer.Typer(
    name="cocu",
    help="Concept curation for vision-language training data: find the concepts that captions leave out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(requested: bool) -> None:
    if requested:
        print(f"cocu {cocu.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


app.command("serve")(serve.serve)
app.command("dashboard")(dashboard.dashboard)
app.command("worker")(worker.worker)
app.command("sweeper")(sweeper.sweeper)
app.command("curate")(curate.curate)
app.command("demo")(demo.demo)
app.command("evaluate")(evaluate.evaluate)
app.command("search")(search.search)
app.command("concepts")(concepts.concepts)
app.command("compare")(concepts.compare)
app.command("draws")(draws.draws)
app.command("effect")(feedback.effect)
app.command("export")(export.export)
app.command("events")(curations.events)
app.add_typer(dataset.app, name="dataset")
app.add_typer(curations.app, name="curation")
app.add_typer(archive.app, name="archive")
app.add_typer(projection.app, name="projection")
app.add_typer(labels.app, name="labels")
app.add_typer(audit.app, name="audit")
app.add_typer(batches.app, name="batches")
app.add_typer(catalog.app, name="catalog")
app.add_typer(index.app, name="index")
app.add_typer(vocabulary.app, name="vocabulary")
app.add_typer(encoder.app, name="encoder")
app.add_typer(scenes.app, name="scenes")


def main() -> NoReturn:
    """Run the command line on the arguments of this process and exit."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except EXPECTED_ERRORS as error:
        errors.print(f"[bold red]error:[/] {escape(describe(error))}", soft_wrap=True)
        sys.exit(exit_status(error))
    sys.exit(0)
