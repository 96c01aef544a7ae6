"""Export of a checkpoint as an encoder bundle.

python -m scenes_encoder.export checkpoint.pt examples/encoders/scenes
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import onnx
import torch
from tokenizers import Tokenizer
from torch import nn

from scenes_encoder.data import IMAGE_SIZE
from scenes_encoder.model import CONTEXT_LENGTH, DIM, DualEncoder

DESCRIPTION = {
    "name": "scenes",
    "dim": DIM,
    "normalized": True,
    "image": {
        "file": "image.onnx",
        "input": "pixels",
        "output": "embedding",
        "dtype": "uint8",
        "layout": "NHWC",
        "size": IMAGE_SIZE,
        "resize": "shortest_side",
        "interpolation": "bicubic",
        "crop": "center",
    },
    "text": {
        "file": "text.onnx",
        "input": "tokens",
        "output": "embedding",
        "dtype": "int64",
        "context_length": CONTEXT_LENGTH,
        "tokenizer": "tokenizer.json",
    },
    "license": "Apache-2.0",
    "source": "trained by training/scenes_encoder on generated scenes and their incomplete captions",
}


def export_tower(tower: nn.Module, example: torch.Tensor, target: Path, *, name: str) -> None:
    """Write one tower as a single ONNX file whose first axis is free."""
    program = torch.onnx.export(
        tower.eval(),
        (example,),
        input_names=[name],
        output_names=["embedding"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        dynamo=True,
        optimize=True,
    )
    assert program is not None
    model = program.model_proto
    _strip(model)
    onnx.save(model, target)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter records about the machine: stack traces with paths, on every node."""
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def export(checkpoint: Path, folder: Path) -> None:
    """Write `encoder.json`, both towers and the tokenizer."""
    saved = torch.load(checkpoint, weights_only=True)
    tokenizer = Tokenizer.from_str(saved["tokenizer"])
    model = DualEncoder(tokenizer.get_vocab_size())
    model.load_state_dict(saved["model"])
    folder.mkdir(parents=True, exist_ok=True)
    pixels_NSSC = torch.randint(0, 256, (2, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=torch.uint8)
    export_tower(model.image, pixels_NSSC, folder / "image.onnx", name="pixels")
    tokens_NT = torch.randint(0, 8, (2, CONTEXT_LENGTH))
    export_tower(model.text, tokens_NT, folder / "text.onnx", name="tokens")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "encoder.json").write_text(json.dumps(DESCRIPTION, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Export a checkpoint of `scenes_encoder.train`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    export(arguments.checkpoint, arguments.folder)
    for path in sorted(arguments.folder.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
