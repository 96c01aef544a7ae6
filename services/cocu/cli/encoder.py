"""`cocu encoder …`: encoder bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, print_json, table
from cocu.client import CocuClient

app = typer.Typer(help="Encoder bundles: list, check, export from open_clip.", no_args_is_help=True)


@app.command("list")
def list_(server: Server = DEFAULT_SERVER, api_key: ApiKey = None, json: Json = False) -> None:
    """List the encoders of a platform."""
    with CocuClient(server, api_key) as client:
        encoders = list(client.encoders.list())
    if json:
        print_json(encoders)
        return
    rows = [
        (each.name, each.dim, each.hash[:12], each.licence, "*" if each.default else "") for each in encoders
    ]
    console.print(table(None, ("name", "dimensions", "hash", "licence", "default"), rows))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The bundle.")],
    json: Json = False,
) -> None:
    """Load a bundle, run both towers once, and say what it is."""
    import numpy as np  # noqa: PLC0415 - the server is imported only where it is needed

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
    """Make a bundle from an open_clip model, and check that both agree; needs the extra `export`."""
    from cocu.encoders.export import export_open_clip  # noqa: PLC0415 - needs torch

    bundle = export_open_clip(model, pretrained, target, licence=licence)
    console.print(f"{bundle.name}: {bundle.dim} dimensions, written to {target}", soft_wrap=True)
