"""`cocu-train`: train on a curation and evaluate the result, without the service.

cocu-train run --curation cur_… --preset scenes --arm cluster --output runs/cluster
torchrun --nproc-per-node 4 -m cocu_training.command_line run …
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

try:
    import torch
except ModuleNotFoundError:
    # Before the imports below, which would end in a trace.
    sys.exit('error: cocu-train needs torch; in a checkout of the project: pip install ".[training]"')

from cocu.client import ClientError
from cocu.schemas.training import ArmName
from cocu_training.configuration import TrainingConfiguration, preset
from cocu_training.error_file import error_written
from cocu_training.errors import ConfigurationError, TrainingError
from cocu_training.evaluation import (
    PROTOCOLS,
    find_protocol,
    open_dataset,
    print_evaluation,
    write_evaluation,
)
from cocu_training.evaluation import evaluate as evaluation_of
from cocu_training.evaluation.threshold_sweep import THRESHOLDS
from cocu_training.loop.checkpoints import last_checkpoint, load_model
from cocu_training.loop.run import EvaluationRequest, Run, train
from cocu_training.model import GroupViT
from cocu_training.model.hugging_face_folder import TOKENIZER, is_hugging_face, read_hugging_face
from cocu_training.service.command import add_commands
from cocu_training.tokenizer_files import tokenizer_of

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]

STOPPED = 75
"""The exit status of a run that was told to stop before its end: start it again with --resume."""

app = typer.Typer(
    help="Train GroupViT on curated batches, and evaluate it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Train GroupViT on curated batches, and evaluate it."""


@app.command()
def run(
    *,
    curation: Annotated[str, typer.Option(help="Id of the curation.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoints and records.")],
    server: Annotated[str, typer.Option(envvar="COCU_SERVER", help="URL of the platform.")] = (
        "http://127.0.0.1:8000"
    ),
    api_key: Annotated[str | None, typer.Option(envvar="COCU_API_KEY", help="Key of the platform.")] = None,
    configuration: Annotated[Path | None, typer.Option(help="JSON file; instead of a preset.")] = None,
    preset_name: Annotated[str, typer.Option("--preset", help="small, scenes, lean or tiny.")] = "small",
    arm: Annotated[str | None, typer.Option(help=", ".join(get_args(ArmName)) + ".")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="name=value of any field; values as JSON. Repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
    evaluate_on: Annotated[
        str | None,
        typer.Option(
            "--evaluate", metavar="PROTOCOL=FOLDER", help="Evaluate during training and at the end."
        ),
    ] = None,
    images: Annotated[int | None, typer.Option("--pictures", min=1, help="Images of an evaluation.")] = None,
    device: Device = "auto",
) -> None:
    """Train; exit status 75 when it was told to stop before its end."""
    base = preset(preset_name) if configuration is None else TrainingConfiguration.from_file(configuration)
    changes = [*(settings or []), *([f"arm={arm}"] if arm else [])]
    outcome = train(
        Run(
            configuration=apply_settings(base, changes),
            server=server,
            curation=curation,
            folder=output,
            api_key=api_key,
            resume=resume,
            device=device,
            evaluated=parse_evaluation(evaluate_on, images),
        )
    )
    if not outcome.finished:
        raise typer.Exit(STOPPED)


@app.command()
def evaluate(
    *,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint, the folder of a run (its last one), or of a Hugging Face GroupViT."
        ),
    ],
    dataset: Annotated[Path, typer.Option(help="Folder of the images, in the protocol's layout.")],
    protocol: Annotated[str, typer.Option(help=f"{', '.join(PROTOCOLS)}.")] = "scenes",
    output: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and previews.")] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Other than where the run found it, or that lies in a Hugging Face folder."),
    ] = None,
    split: Annotated[str, typer.Option(help="val or train.")] = "val",
    images: Annotated[int | None, typer.Option("--pictures", min=1, help="How many; all by default.")] = None,
    previews: Annotated[int, typer.Option(min=0, help="Images to draw.")] = 8,
    thresholds: Annotated[bool, typer.Option("--thresholds", help="Try others of the background.")] = False,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Device = "auto",
) -> None:
    """Evaluate a checkpoint: the table of classes, the mIoU last."""
    segmentation_protocol = find_protocol(protocol)
    model, default_tokenizer = _model_of(checkpoint)
    evaluation = evaluation_of(
        model,
        tokenizer or default_tokenizer,
        open_dataset(segmentation_protocol.layout, dataset, split=split),
        segmentation_protocol,
        device=("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device,
        precision=precision,
        images=images,
        previews=previews if output is not None else 0,
        thresholds=THRESHOLDS if thresholds else (),
    )
    if output is not None:
        write_evaluation(evaluation, output)
    print_evaluation(evaluation)


def _model_of(checkpoint: Path) -> tuple[GroupViT, Path]:
    """Load a model and the path of its tokenizer. Raises CheckpointError."""
    if is_hugging_face(checkpoint):
        return read_hugging_face(checkpoint), checkpoint / TOKENIZER
    file = last_checkpoint(checkpoint)
    model, configuration = load_model(file)
    return model, tokenizer_of(file, configuration.tokenizer)


def parse_evaluation(argument: str | None, images: int | None) -> EvaluationRequest | None:
    """Parse PROTOCOL=FOLDER. Raises ConfigurationError."""
    if argument is None:
        return None
    protocol, equals, folder = argument.partition("=")
    if not equals:
        raise ConfigurationError(f"--evaluate takes PROTOCOL=FOLDER, not {argument!r}")
    return EvaluationRequest(protocol=protocol, dataset=Path(folder), images=images)


def apply_settings(configuration: TrainingConfiguration, changes: list[str]) -> TrainingConfiguration:
    """Apply settings `name=value` to a configuration. Raises ConfigurationError."""
    values: dict[str, Any] = json.loads(configuration.to_json())
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise ConfigurationError(f"settings are given as name=value, not {change!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            # A value that is not JSON is a string.
            values[name] = value
    return TrainingConfiguration.from_mapping(values)


add_commands(app)


def main() -> None:
    """Run the command line; print expected errors as one line, without a traceback."""
    try:
        with error_written():
            app()
    except ModuleNotFoundError as error:
        sys.exit(
            f'error: cocu-train needs {error.name}; in a checkout of the project: pip install ".[training]"'
        )
    except (TrainingError, ClientError) as error:
        console = Console(stderr=True)
        console.print("error:", style="bold red", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
