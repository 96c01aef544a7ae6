"""`cocu curate`: from a path to archives in one command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from cocu.cli import summary, workflow
from cocu.cli.options import ApiKey, Data, EncoderFolder, Json
from cocu.cli.output import console, errors, print_json
from cocu.client import CocuClient
from cocu.schemas import NeighbourSearch, Parameters, Scoring


def curate(
    *,
    path: Annotated[Path, typer.Argument(exists=True, help="A tar, a zip, a folder of them, or of images.")],
    encoder: EncoderFolder = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Own vocabulary: .txt with a concept per line, or .json."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Labels to measure against: COCO instances or a table key → labels.",
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option("--neighbours", "-L", min=1, max=256, help="L, images whose captions an archive uses."),
    ] = None,
    search: Annotated[
        NeighbourSearch | None,
        typer.Option(
            help="exact: compare all samples; ivf: only the nearest cells of an inverted file; "
            "auto: by the number of samples."
        ),
    ] = None,
    scoring: Annotated[
        Scoring | None,
        typer.Option(
            help="How candidates are ranked: evidence (log-odds), official (as the released script does), "
            "set (its corrected form)."
        ),
    ] = None,
    own_caption: Annotated[
        bool | None, typer.Option("--own-caption/--no-own-caption", help="Also use an image's own caption.")
    ] = None,
    clustering: Annotated[
        bool | None, typer.Option("--clustering/--no-clustering", help="Cluster archives.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Keep only concepts that score at least this.")
    ] = None,
    max_concepts: Annotated[
        int | None, typer.Option(min=1, help="Keep at most this many concepts per image.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Upload the data, but only estimate the cost of curating it."),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset; by default the name of the path.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Platform to use; without it, one is started here.", show_default=False
        ),
    ] = None,
    encoder_name: Annotated[str | None, typer.Option(help="Encoder of the server to use, by name.")] = None,
    api_key: ApiKey = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Curate images with captions: a tar, a zip, a folder of them, or of images with .txt beside them."""
    if server is not None and (encoder is not None or data is not None):
        raise typer.BadParameter(
            "--encoder and --data are for a platform started here; use --encoder-name with --server"
        )
    options = {
        "neighbours": neighbours,
        "search": search,
        "scoring": scoring,
        "own_caption": own_caption,
        "clustering": clustering,
        "min_score": min_score,
        "max_concepts": max_concepts,
    }
    parameters = _parameters(options)
    with (
        _interruptible(server),
        _platform(server, api_key, encoder, data) as client,
        # A second time, so that the message comes before the platform stops, which takes some seconds.
        _interruptible(server),
    ):
        if dry_run:
            dataset, created_vocabulary = workflow.prepare(
                client, path, name=name or path.resolve().name, vocabulary=vocabulary
            )
            estimate = client.curations.estimate(
                dataset.id,
                vocabulary=created_vocabulary.id if created_vocabulary else None,
                encoder=encoder_name,
                parameters=parameters,
            )
            print_json(estimate) if json else console.print(summary.estimate(estimate))
            return
        result = workflow.run(
            client,
            path,
            name=name or path.resolve().name,
            vocabulary=vocabulary,
            encoder=encoder_name,
            labels=labels,
            parameters=parameters,
        )
        if json:
            print_json(_document(result))
        else:
            console.print(summary.outcome(result))


def _parameters(options: Mapping[str, object]) -> Parameters:
    try:
        return Parameters.model_validate(
            {name: value for name, value in options.items() if value is not None}
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{first['loc'][0]}".replace("_", "-")
        raise typer.BadParameter(
            f"{first['input']!r} is not possible: {first['msg']}", param_hint=option
        ) from error


@contextmanager
def _interruptible(server: str | None) -> Iterator[None]:
    """On Ctrl-C, print how to continue and exit with status 130."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        state = "the platform continues the work" if server else "finished work is kept"
        errors.print(f"interrupted; {state}, and the same command goes on where it was")
        raise typer.Exit(130) from interrupt


def _platform(
    server: str | None, api_key: str | None, encoder: Path | None, data: Path | None
) -> AbstractContextManager[CocuClient]:
    if server is not None:
        return CocuClient(server, api_key)
    from cocu.cli.local import local_client  # noqa: PLC0415 - only commands that start a server import it

    return local_client(encoder=encoder, data=data, announce=errors.print)


def _document(result: workflow.Outcome) -> dict[str, object]:
    return {
        "dataset": result.dataset,
        "report": result.report,
        "curation": result.curation,
        "examples": list(result.examples),
        "evaluation": result.evaluation,
    }
