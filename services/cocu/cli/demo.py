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
from cocu.cli.options import Data
from cocu.cli.output import console, count, errors
from cocu.cli.serve import until_signalled
from cocu.client.models import Evaluation

MUST_IMPROVE = ("recall", "ap judged")


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the table: 0 if the archive is better, else 1.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    data: Data = None,
) -> None:
    """Curate the shipped scenes with the shipped encoder, compare archives with captions, and stay up."""
    from cocu.cli.local import local_client  # noqa: PLC0415 - the server is imported only where one is started

    examples = examples_folder()
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cocu-demo-")))
        client = stack.enter_context(
            local_client(
                encoder=examples / "encoders" / "scenes",
                data=folder,
                port=0 if once else port,
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
        wait = stack.enter_context(until_signalled())
        console.print(
            f"\n{count(result.report.accepted, 'archive')} to look at on [bold]{client.base_url}[/]:\n"
            f"  {client.base_url}/docs\n"
            f"  {client.base_url}/v1/curations/{result.curation.id}/archives?added=true\nCtrl-C stops it.",
            soft_wrap=True,
        )
        wait()


def examples_folder() -> Path:
    """Where the shipped scenes and encoder lie; raises CommandFailedError outside a checkout."""
    folder = Path(cocu.__file__).parents[2] / "examples"
    if not (folder / "scenes").is_dir():
        raise CommandFailedError(
            "the demo needs the examples of the source tree; run it from a checkout with: make demo"
        )
    return folder


def optional(path: Path) -> Path | None:
    """The path if there is something, else None."""
    return path if path.exists() else None


def is_better(evaluation: Evaluation) -> bool:
    """Whether the archive beats the caption alone in every metric that must improve."""
    caption, archive = evaluation.row("caption"), evaluation.row("archive")
    return all((archive.metrics[name] or 0.0) > (caption.metrics[name] or 0.0) for name in MUST_IMPROVE)


def verdict(better: bool) -> str:
    """What the table says, in a sentence."""
    if better:
        return "\n[bold green]The archives name more of what the pictures show than their captions do.[/]"
    return "\n[bold red]The archives are not better than the captions: something is wrong.[/]"
