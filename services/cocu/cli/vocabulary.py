"""`cocu vocabulary …`: what a vocabulary names, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cocu.cli.failures import CommandFailedError
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json, table
from cocu.client import CocuClient
from cocu.client.models import Concept, Overlap

if TYPE_CHECKING:
    from cocu.curation.vocabulary import Vocabulary

app = typer.Typer(help="Vocabularies: the shipped one, own files, mined ones.", no_args_is_help=True)

File = Annotated[
    Path | None,
    typer.Argument(exists=True, dir_okay=False, help=".txt or .json; the shipped vocabulary without one."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Leave out the class names of this benchmark; may be given repeatedly."),
]
MOST_MISSING = 8
SHOWN = 20


@app.command()
def report(file: File = None, without: Without = None, json: Json = False) -> None:
    """Say how many class names of each benchmark a vocabulary has."""
    from cocu.curation import class_names  # noqa: PLC0415 - the algorithm is imported only where it is needed
    from cocu.curation.vocabulary import overlap  # noqa: PLC0415

    vocabulary = _loaded(file, without)
    found = [overlap(vocabulary, benchmark) for benchmark in class_names.benchmarks()]
    overlaps = [
        Overlap(benchmark=each.benchmark, classes=each.total, named=each.covered, missing=list(each.missing))
        for each in found
    ]
    if json:
        print_json(overlaps)
        return
    rows = [(each.benchmark, each.classes, each.named, _some(each.missing)) for each in overlaps]
    title = f"{vocabulary.name}, version {vocabulary.version}: {len(vocabulary.concepts):,} concepts"
    console.print(table(title, ("benchmark", "classes", "named", "not named"), rows))


@app.command()
def show(file: File = None, without: Without = None, json: Json = False) -> None:
    """List the concepts of a vocabulary with the forms in which captions may write them."""
    vocabulary = _loaded(file, without)
    if json:
        print_json(Concept(name=each.name, forms=list(each.forms)) for each in vocabulary.concepts)
        return
    for each in vocabulary.concepts:
        console.print(f"{each.name}: {', '.join(each.forms)}", markup=False, soft_wrap=True)


@app.command()
def mine(
    *,
    dataset: Annotated[str, typer.Argument(help="Id of the dataset whose captions are read.")],
    name: Annotated[str | None, typer.Option(help="Name of the vocabulary.")] = None,
    minimum_count: Annotated[int, typer.Option(min=1, help="How often a phrase must occur.")] = 5,
    maximum: Annotated[int, typer.Option(min=1, help="The most concepts.")] = 5000,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Make a vocabulary of the noun phrases that are frequent in a dataset's captions; print its id."""
    with CocuClient(server, api_key) as client:
        made = client.vocabularies.mine(
            dataset, name=name, minimum_count=minimum_count, maximum_concepts=maximum
        )
    if json:
        print_json(made)
        return
    print(made.id)
    console.print(
        table(None, ("phrase", "captions"), [(each.phrase, each.count) for each in made.phrases[:SHOWN]])
    )
    if made.concepts > SHOWN:
        console.print(f"and {made.concepts - SHOWN:,} more")


def _loaded(file: Path | None, without: list[str] | None) -> Vocabulary:
    from cocu.curation.vocabulary import Vocabulary  # noqa: PLC0415

    try:
        vocabulary = Vocabulary.shipped() if file is None else Vocabulary.load(file)
        return vocabulary.without_benchmarks(without) if without else vocabulary
    except ValueError as error:
        raise CommandFailedError(str(error)) from error


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_MISSING} more" if len(names) > MOST_MISSING else ""
    return ", ".join(names[:MOST_MISSING]) + more
