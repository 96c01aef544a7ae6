"""`cocu vocabulary …`: the concepts of a vocabulary, and its coverage of benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cocu.cli import concept_vectors, feedback
from cocu.cli.failures import CommandFailedError
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, errors, print_json, table
from cocu.cli.uploads import find_dataset
from cocu.client import CocuClient
from cocu.schemas import Concept, Overlap
from cocu.text.encodings import read_text

if TYPE_CHECKING:
    from cocu.curation.vocabulary import Vocabulary

app = typer.Typer(help="Vocabularies: the shipped one, own files, mined ones.", no_args_is_help=True)

File = Annotated[
    Path | None,
    typer.Argument(exists=True, dir_okay=False, help=".txt or .json; by default the shipped vocabulary."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Leave out the class names of this benchmark; may be repeated."),
]
MAX_MISSING = 8
MAX_PHRASES = 20


@app.command()
def report(file: File = None, without: Without = None, json: Json = False) -> None:
    """Show how many class names of each benchmark a vocabulary has."""
    from cocu.curation import class_names  # noqa: PLC0415 - only where the algorithm is needed
    from cocu.curation.vocabulary import overlap  # noqa: PLC0415

    vocabulary = _loaded(file, without)
    results = [overlap(vocabulary, benchmark) for benchmark in class_names.benchmarks()]
    overlaps = [
        Overlap(
            benchmark=result.benchmark,
            classes=result.total,
            named=result.covered,
            missing=list(result.missing),
        )
        for result in results
    ]
    if json:
        print_json(overlaps)
        return
    rows = [(row.benchmark, row.classes, row.named, _first_names(row.missing)) for row in overlaps]
    title = f"{vocabulary.name}, version {vocabulary.version}: {len(vocabulary.concepts):,} concepts"
    console.print(table(title, ("benchmark", "classes", "named", "not named"), rows))


@app.command()
def show(
    *,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|ID]",
            help=".txt, .json, or id or name of a vocabulary of the server; by default the shipped one.",
            show_default=False,
        ),
    ] = None,
    without: Without = None,
    document: Annotated[
        bool, typer.Option("--document", help="Print it as JSON that makes the same vocabulary again.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List the concepts of a vocabulary with their forms in captions, or print its document."""
    if source is None or _is_file(source):
        vocabulary = _loaded(None if source is None else Path(source), without)
    else:
        with CocuClient(server, api_key) as client:
            text = client.vocabularies.document(source)
        if document and not without:
            print(text)
            return
        vocabulary = _read_document(text, without)
    if document:
        print(vocabulary.to_json())
        return
    if json:
        print_json(Concept(name=concept.name, forms=list(concept.forms)) for concept in vocabulary.concepts)
        return
    for concept in vocabulary.concepts:
        console.print(f"{concept.name}: {', '.join(concept.forms)}", markup=False, soft_wrap=True)
    if not vocabulary.concepts:
        errors.print(f"{vocabulary.name} has no concepts: write one per line, as name = synonym, synonym")


@app.command()
def delete(
    vocabulary: Annotated[str, typer.Argument(help="Id of the vocabulary.")],
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
) -> None:
    """Delete a vocabulary that no curation uses, with the feedback about it."""
    with CocuClient(server, api_key) as client:
        client.vocabularies.delete(vocabulary)


@app.command()
def mine(
    *,
    dataset: Annotated[str, typer.Argument(help="Id or name of the dataset with the captions.")],
    name: Annotated[str | None, typer.Option(help="Name of the vocabulary.")] = None,
    minimum_count: Annotated[int, typer.Option(min=1, help="Minimum number of captions with a phrase.")] = 5,
    maximum: Annotated[int, typer.Option(min=1, help="Maximum number of concepts.")] = 5000,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Make a vocabulary from the frequent noun phrases in a dataset's captions; print its id."""
    with CocuClient(server, api_key) as client:
        vocabulary = client.vocabularies.mine(
            find_dataset(client, dataset).id, name=name, minimum_count=minimum_count, maximum_concepts=maximum
        )
    if json:
        print_json(vocabulary)
        return
    print(vocabulary.id)
    console.print(
        table(
            None,
            ("phrase", "captions"),
            [(row.phrase, row.count) for row in vocabulary.phrases[:MAX_PHRASES]],
        )
    )
    if vocabulary.concepts > MAX_PHRASES:
        console.print(f"and {vocabulary.concepts - MAX_PHRASES:,} more")


def _is_file(source: str) -> bool:
    """Whether this is a file, or was meant to be one."""
    return Path(source).is_file() or Path(source).suffix.lower() in {".txt", ".json"}


def _read_document(text: str, without: list[str] | None) -> Vocabulary:
    from cocu.curation.vocabulary import Vocabulary  # noqa: PLC0415

    return _reduced(Vocabulary.from_json(text), without)


def _loaded(file: Path | None, without: list[str] | None) -> Vocabulary:
    from cocu.curation.vocabulary import Vocabulary  # noqa: PLC0415

    try:
        if file is None:
            vocabulary = Vocabulary.shipped()
        else:
            vocabulary = Vocabulary.from_text(read_text(file), file_name=file.name)
    except ValueError as error:
        raise CommandFailedError(str(error)) from error
    return _reduced(vocabulary, without)


def _reduced(vocabulary: Vocabulary, without: list[str] | None) -> Vocabulary:
    try:
        return vocabulary.without_benchmarks(without) if without else vocabulary
    except ValueError as error:
        raise CommandFailedError(str(error)) from error


def _first_names(names: list[str]) -> str:
    more = f" and {len(names) - MAX_MISSING} more" if len(names) > MAX_MISSING else ""
    return ", ".join(names[:MAX_MISSING]) + more


app.command("block")(feedback.block)
app.command("allow")(feedback.allow)
app.command("merge")(feedback.merge)
app.command("undo")(feedback.undo)
app.command("feedback")(feedback.feedback)
app.command("next")(feedback.next_version)
app.command("near")(concept_vectors.near)
app.command("merge-candidates")(concept_vectors.merge_candidates)
app.command("gaps")(concept_vectors.gaps)
