"""`cocu encoder …`: encoder bundles."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json, table
from cocu.client import CocuClient

app = typer.Typer(
    help="Encoder bundles: list, check, export from open_clip, publish to an inference server.",
    no_args_is_help=True,
)


class Backend(StrEnum):
    """The backend of Triton that runs the towers."""

    onnxruntime = "onnxruntime"
    python = "python"


class Device(StrEnum):
    """The device that runs the towers."""

    gpu = "gpu"
    cpu = "cpu"


@app.command("list")
def list_(server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False) -> None:
    """List the encoders of a platform."""
    with CocuClient(server, api_key) as client:
        encoders = list(client.encoders.list())
    if json:
        print_json(encoders)
        return
    rows = [
        (encoder.name, encoder.dim, encoder.hash[:12], encoder.licence, "*" if encoder.default else "")
        for encoder in encoders
    ]
    console.print(table(None, ("name", "dimensions", "hash", "licence", "default"), rows))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The bundle.")],
    json: Json = False,
) -> None:
    """Load a bundle, run both towers once, and describe it."""
    import numpy as np  # noqa: PLC0415 - only commands that need the server import it

    from cocu.encoders import open_encoder  # noqa: PLC0415

    encoder = open_encoder(folder)
    side = encoder.bundle.image.size
    encoder.embed_texts(["a photo of a dog"])
    encoder.embed_images(np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8))
    facts = {"name": encoder.name, "dim": encoder.dim, "image_size": side, "hash": encoder.hash}
    if json:
        print_json(facts)
        return
    console.print(
        f"{encoder.name} runs: {encoder.dim} dimensions, images of {side} × {side}, hash {encoder.hash[:12]}"
    )


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Name of an open_clip model, for example ViT-B-16.")],
    target: Annotated[Path, typer.Argument(help="Folder to write the bundle to; must not exist yet.")],
    pretrained: Annotated[
        str | None, typer.Option(help="Name of open_clip weights, or a file of weights.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, noted in the bundle.")] = "",
) -> None:
    """Make a bundle from an open_clip model, and check that both give the same embeddings.

    The model must use CLIP's own tokenizer, as ViT-B-16 does; SigLIP and multilingual models do not. Needs
    torch and open_clip: pip install ".[export]" in a checkout of the project.
    """
    from cocu.encoders.export import export_open_clip  # noqa: PLC0415 - needs torch

    bundle = export_open_clip(model, pretrained, target, licence=licence)
    console.print(f"{bundle.name}: {bundle.dim} dimensions, written to {target}", soft_wrap=True)


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The bundle.")],
    repository: Annotated[Path, typer.Option(help="Triton's model repository; created if missing.")],
    backend: Annotated[
        Backend,
        typer.Option(help="Triton's own ONNX Runtime, or ONNX Runtime in its Python backend (for CPUs)."),
    ] = Backend.onnxruntime,
    device: Annotated[
        Device | None, typer.Option(help="Device; by default a GPU for onnxruntime, else a CPU.")
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Copies of each tower on every GPU.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, max=1024, help="The largest batch.")] = 64,
    threads: Annotated[int, typer.Option(min=0, help="Threads per inference on a CPU; 0: one per core.")] = 0,
    tensorrt: Annotated[bool, typer.Option(help="Compile the towers for the GPU, in full precision.")] = True,
    engine_cache: Annotated[
        str, typer.Option(help="Persistent folder in which the server keeps compiled towers.")
    ] = "/var/cache/triton/engines",
    json: Json = False,
) -> None:
    """Write a bundle into a Triton model repository; an error if another bundle has the same name."""
    from cocu.encoders import Bundle  # noqa: PLC0415 - only commands that need the server import it
    from cocu.encoders.triton.configuration import ModelOptions  # noqa: PLC0415
    from cocu.encoders.triton.repository import publish as publish_bundle  # noqa: PLC0415

    options = ModelOptions(
        backend=backend.value,
        device=None if device is None else device.value,
        instances=instances,
        max_batch=max_batch,
        threads=threads,
        tensorrt=tensorrt,
        engine_cache=engine_cache,
    )
    published = publish_bundle(Bundle.load(bundle), repository, options=options)
    if json:
        print_json(dataclasses.asdict(published))
        return
    outcome = "published as" if published.changed else "was already published as"
    console.print(
        f"{published.name} (hash {published.hash[:12]}) {outcome} {' and '.join(published.models)}",
        soft_wrap=True,
    )
