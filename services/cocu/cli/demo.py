"""`cocu demo`: the shipped scenes, curated with the shipped encoder, over HTTP."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import cocu
from cocu.cli import summary, workflow
from cocu.cli.failures import CommandFailedError
from cocu.cli.options import DemoData
from cocu.cli.output import console, count, errors
from cocu.cli.serve import stop_signal
from cocu.client import CocuClient
from cocu.client.transport import segment
from cocu.schemas import Evaluation

USUAL_PORT = 8000
MUST_IMPROVE = ("recall", "ap judged")


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the table: 0 if the archive is better, else 1.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port to listen on; by default 8000, or a free port if 8000 is taken.",
            show_default=False,
        ),
    ] = None,
    data: DemoData = None,
) -> None:
    """Curate the shipped scenes with the shipped encoder, compare archives with captions, keep running."""
    # Only commands that start a server import it.
    from cocu.cli.local import available_port, local_client  # noqa: PLC0415

    examples = examples_folder()
    if once:
        port = 0
    elif port is None:
        port = available_port(USUAL_PORT)
        if port != USUAL_PORT:
            errors.print(f"port {USUAL_PORT} is in use: the demo uses another")
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cocu-demo-")))
        client = stack.enter_context(
            local_client(
                encoder=examples / "encoders" / "scenes",
                data=folder,
                port=port,
                announce=errors.print,
            )
        )
        scenes = examples / "scenes"
        result = workflow.run(
            client,
            scenes,
            name="scenes",
            vocabulary=optional(scenes / "vocabulary.json"),
            labels=scenes / "labels.json",
        )
        console.print(summary.outcome(result))
        assert result.evaluation is not None
        better = is_better(result.evaluation)
        console.print(verdict(better))
        if once:
            raise typer.Exit(0 if better else 1)
        wait = stack.enter_context(stop_signal())
        console.print(
            f"\n{count(result.report.accepted, 'archive')} to look at on [bold]{client.base_url}[/]\n"
            f"  an image beside its archive: {first_archive(client, result.curation.id)}\n"
            f"  the REST API: {client.base_url}/docs\n"
            f"Ctrl-C stops it{'' if data else ' and deletes its data'}.",
            soft_wrap=True,
        )
        wait()


def first_archive(client: CocuClient, curation: str) -> str:
    """The page of the archive whose best added concept is the surest."""
    card = next(client.archives.cards(curation, order="-best_added", limit=1))
    return f"{client.base_url}/curations/{curation}/archives/{segment(card.key)}?order=-best_added"


def examples_folder() -> Path:
    """The folder of the shipped scenes and encoder; raises CommandFailedError outside a checkout."""
    folder = Path(cocu.__file__).parents[2] / "examples"
    if not (folder / "scenes").is_dir():
        raise CommandFailedError(
            "the demo needs the examples of the source tree; run it from a checkout with: make demo"
        )
    return folder


def optional(path: Path) -> Path | None:
    """The path if it exists, else None."""
    return path if path.exists() else None


def is_better(evaluation: Evaluation) -> bool:
    """Whether the archive beats the caption alone in every metric that must improve."""
    caption, archive = evaluation.row("caption"), evaluation.row("archive")
    return all((archive.metrics[name] or 0.0) > (caption.metrics[name] or 0.0) for name in MUST_IMPROVE)


def verdict(better: bool) -> str:
    """The result of the table as a sentence."""
    if better:
        return "\n[bold green]The archives name more of what the images show than their captions do.[/]"
    return "\n[bold red]The archives are not better than the captions: something is wrong.[/]"
