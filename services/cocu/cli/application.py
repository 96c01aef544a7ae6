"""Which commands there are, and how every error ends: one readable line, exit code 2 for usage, 1 for
failure.

Commands that only talk to a platform import nothing of the server; those that are a server import it when
they run.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

import cocu
from cocu.cli import (
    archive,
    batches,
    catalog,
    concepts,
    curate,
    dataset,
    demo,
    encoder,
    evaluate,
    export,
    index,
    scenes,
    search,
    serve,
    sweeper,
    vocabulary,
    worker,
)
from cocu.cli.failures import FORESEEN, explained
from cocu.cli.output import errors

app = typer.Typer(
    name="cocu",
    help="Concept curation for vision-language training data: find the concepts that captions leave out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
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
app.command("worker")(worker.worker)
app.command("sweeper")(sweeper.sweeper)
app.command("curate")(curate.curate)
app.command("demo")(demo.demo)
app.command("evaluate")(evaluate.evaluate)
app.command("search")(search.search)
app.command("concepts")(concepts.concepts)
app.command("compare")(concepts.compare)
app.command("export")(export.export)
app.add_typer(dataset.app, name="dataset")
app.add_typer(archive.app, name="archive")
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
    except FORESEEN as error:
        errors.print(f"[bold red]error:[/] {escape(explained(error))}", soft_wrap=True)
        sys.exit(1)
    sys.exit(0)
