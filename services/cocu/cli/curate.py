"""`cocu curate`: from a path to archives in one command."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from cocu.cli import summary, workflow
from cocu.cli.options import ApiKey, Data, EncoderFolder, Json
from cocu.cli.output import console, errors, print_json
from cocu.client import CocuClient
from cocu.client.models import Parameters


def curate(
    *,
    path: Annotated[Path, typer.Argument(exists=True, help="A tar, a zip, a folder of them, or of images.")],
    encoder: EncoderFolder = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Own vocabulary: .txt, a concept a line, or .json."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="COCO instances or a table key → labels to measure against."
        ),
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option("--neighbours", "-L", help="L, images an archive draws on.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="Neighbours among all samples (exact), in cells, or auto.")
    ] = None,
    scoring: Annotated[str | None, typer.Option(help="How candidates are ranked.")] = None,
    own_caption: Annotated[
        bool | None, typer.Option("--own-caption/--no-own-caption", help="Use an image's own caption too.")
    ] = None,
    clustering: Annotated[
        bool | None, typer.Option("--clustering/--no-clustering", help="Cluster archives.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Keep only concepts that score at least this.")
    ] = None,
    max_concepts: Annotated[
        int | None, typer.Option(help="Keep at most this many concepts per image.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Put the data in, but say what curating it would cost; start nothing."
        ),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset; that of the path by default.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Platform to use; without it one is started here.", show_default=False
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
    given = {
        "neighbours": neighbours,
        "search": search,
        "scoring": scoring,
        "own_caption": own_caption,
        "clustering": clustering,
        "min_score": min_score,
        "max_concepts": max_concepts,
    }
    parameters = Parameters.model_validate({key: value for key, value in given.items() if value is not None})
    with _platform(server, api_key, encoder, data) as client:
        if dry_run:
            dataset, made = workflow.prepare(
                client, path, name=name or path.resolve().name, vocabulary=vocabulary
            )
            estimate = client.curations.estimate(
                dataset.id, vocabulary=made.id if made else None, encoder=encoder_name, parameters=parameters
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


def _platform(
    server: str | None, api_key: str | None, encoder: Path | None, data: Path | None
) -> AbstractContextManager[CocuClient]:
    if server is not None:
        return CocuClient(server, api_key)
    from cocu.cli.local import local_client  # noqa: PLC0415 - the server is imported only where one is started

    return local_client(encoder=encoder, data=data, announce=errors.print)


def _document(result: workflow.Outcome) -> dict[str, object]:
    return {
        "dataset": result.dataset,
        "report": result.report,
        "curation": result.curation,
        "examples": list(result.examples),
        "evaluation": result.evaluation,
    }
