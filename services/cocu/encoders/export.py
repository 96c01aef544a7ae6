"""Export of an open_clip model as an encoder bundle; needs the extra `export` (torch, open_clip, onnx)."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import open_clip
import torch

from cocu.encoders.bundle import DESCRIPTION, Bundle
from cocu.encoders.clip_tokenizer import clip_tokenizer
from cocu.encoders.inprocess import InProcessEncoder, open_encoder
from cocu.encoders.names import nearest
from cocu.errors import ConflictError, IntegrityError, InvalidInputError

__all__ = ["TOLERANCE", "export_open_clip", "verify"]

TOLERANCE = 1e-4
"""The largest difference allowed between a component of an exported embedding and of the original."""

_INTERPOLATION = ("bicubic", "bilinear")
_RESIZE = {"shortest": "shortest_side", "squash": "squash"}
# Not "embedding": the exporter gives that name to the look-up of token embeddings.
_OUTPUT = "embeddings"
_LARGEST_PROTOBUF = 2**31 - 2**26
_VERIFIED_TEXTS = (
    "a photo of a cat",
    "Two dogs & a hot-dog stand; it's 25°C!",
    "  MANY   words\twith\nwhite space  ",
    "naïve café in Zürich, 東京 and Москва 🚲",
    "it's “curly” isn’t it",
    "",
    "one two three four five six seven eight nine ten " * 12,
)


def export_open_clip(
    model_name: str, pretrained: str | None, folder: str | Path, *, licence: str = ""
) -> Bundle:
    """Write an open_clip model as a bundle and check that both give the same embeddings and tokens.

    model_name, pretrained: as open_clip names them ("ViT-B-16", "openai"), or a local checkpoint; None for
    random weights. The folder must not exist yet; it is created only if the export passes the check.

    Raises ConflictError when the folder exists, InvalidInputError when a bundle cannot describe the model,
    IntegrityError when the exported towers differ from the original.
    """
    folder = Path(folder)
    if folder.exists():
        raise ConflictError(f"{folder} exists already: remove it or choose another folder")
    require_known(model_name, pretrained)
    model = open_clip.create_model(model_name, pretrained=pretrained).eval().float()
    tokenizer = open_clip.get_tokenizer(model_name)
    description = _describe(model, tokenizer, model_name, pretrained, licence)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as temporary:
        unfinished = Path(temporary) / "bundle"
        unfinished.mkdir()
        (unfinished / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
        clip_tokenizer(tokenizer.encoder, merges).save(str(unfinished / "tokenizer.json"))
        _export_towers(model, description, unfinished)
        verify(open_encoder(unfinished), model, tokenizer)
        shutil.move(unfinished, folder)
    return Bundle.load(folder)


def require_known(model_name: str, pretrained: str | None) -> None:
    """Raise InvalidInputError, with similar names, for a model or weights that open_clip does not have.

    Also for a model whose texts need another tokenizer than CLIP's, before anything is downloaded.
    """
    if ":" in model_name:
        return  # from a hub or a folder, which open_clip asks itself
    model_name = model_name.replace("/", "-")
    known_models = open_clip.list_models()
    if model_name not in known_models:
        raise InvalidInputError(f"open_clip has no model {model_name!r}; {nearest(model_name, known_models)}")
    text = (open_clip.get_model_config(model_name) or {}).get("text_cfg", {})
    if "hf_tokenizer_name" in text:
        raise InvalidInputError(
            f"a bundle cannot describe {model_name}: its texts go through another tokenizer than CLIP's "
            f"({text['hf_tokenizer_name']})"
        )
    known_weights = open_clip.list_pretrained_tags_by_model(model_name)
    # As open_clip itself reads the name of weights.
    tag = (pretrained or "").lower().replace("-", "_")
    if pretrained and not Path(pretrained).exists() and tag not in known_weights:
        raise InvalidInputError(
            f"open_clip has no weights {pretrained!r} for {model_name}, and there is no such file; "
            f"{nearest(pretrained, known_weights)}"
        )


def verify(encoder: InProcessEncoder, model: Any, tokenizer: Any, *, seed: int = 0) -> None:
    """Compare a bundle with the model it was exported from, on random images and on difficult texts.

    Raises IntegrityError when tokens differ or an embedding is off by more than TOLERANCE.
    """
    size = encoder.bundle.image.size
    pixels_NHWC = np.random.default_rng(seed).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    words = [*_VERIFIED_TEXTS, *_random_texts(tokenizer, seed)]
    tokens_NT = tokenizer(words).numpy()
    ours_NT = encoder.tokenize(words)
    for text, original, exported in zip(words, tokens_NT, ours_NT, strict=True):
        if not np.array_equal(original, exported):
            raise IntegrityError(f"the exported tokenizer gives other tokens than open_clip for {text!r}")
    with torch.inference_mode():
        image_ND = _ImageTower(model)(torch.from_numpy(pixels_NHWC)).numpy()
        text_ND = _TextTower(model)(torch.from_numpy(tokens_NT)).numpy()
    _compare("image", encoder.embed_images(pixels_NHWC), image_ND)
    # Alone and in a batch: a batch size that was baked into the graph would show here.
    _compare("image", encoder.embed_images(pixels_NHWC[:1]), image_ND[:1])
    _compare("text", encoder.embed_texts(words), text_ND)


class _ImageTower(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Maps stored pixels to embeddings of unit norm: the normalisation of pixels is part of the graph."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        preprocessing = model.visual.preprocess_cfg
        self.register_buffer("mean", torch.tensor(preprocessing["mean"]).view(1, 3, 1, 1) * 255)
        self.register_buffer("deviation", torch.tensor(preprocessing["std"]).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: Any) -> Any:
        normalised = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.deviation
        return self.model.encode_image(normalised, normalize=True)


class _TextTower(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Any) -> Any:
        return self.model.encode_text(tokens, normalize=True)


def _describe(
    model: Any, tokenizer: Any, model_name: str, pretrained: str | None, licence: str
) -> dict[str, Any]:
    preprocessing = model.visual.preprocess_cfg
    if unsupported := _unsupported(preprocessing, tokenizer):
        raise InvalidInputError(f"a bundle cannot describe {model_name}: {unsupported}", unsupported)
    with torch.inference_mode():
        dim = model.encode_text(tokenizer(["a"])).shape[1]
    # A local checkpoint is a path: publish only the name of the file.
    weights = Path(pretrained).name if pretrained else "random weights"
    return {
        "name": f"{model_name} {weights}",
        "dim": dim,
        "normalized": True,
        "image": {
            "file": "image.onnx",
            "input": "pixels",
            "output": _OUTPUT,
            "dtype": "uint8",
            "layout": "NHWC",
            "size": _sides(preprocessing)[0],
            "resize": _RESIZE[preprocessing["resize_mode"]],
            "interpolation": preprocessing["interpolation"],
            "crop": "center",
        },
        "text": {
            "file": "text.onnx",
            "input": "tokens",
            "output": _OUTPUT,
            "dtype": "int64",
            "context_length": int(tokenizer.context_length),
            "tokenizer": "tokenizer.json",
        },
        "license": licence,
        "source": f"open_clip {open_clip.__version__}, {model_name}, {weights}",
    }


def _unsupported(preprocessing: dict[str, Any], tokenizer: Any) -> dict[str, str]:
    height, width = _sides(preprocessing)
    wrong = {}
    if height != width:
        wrong["size"] = f"the image must be square, not {height} × {width}"
    if preprocessing["resize_mode"] not in _RESIZE:
        wrong["resize_mode"] = f"{preprocessing['resize_mode']!r} is not one of {', '.join(_RESIZE)}"
    if preprocessing["interpolation"] not in _INTERPOLATION:
        wrong["interpolation"] = (
            f"{preprocessing['interpolation']!r} is not one of {', '.join(_INTERPOLATION)}"
        )
    if not _is_plain_clip(tokenizer):
        wrong["tokenizer"] = "not CLIP's byte-pair encoding of lower-cased text"
    return wrong


def _sides(preprocessing: dict[str, Any]) -> tuple[int, int]:
    size = preprocessing["size"]
    return (size, size) if isinstance(size, int) else tuple(size)


def _is_plain_clip(tokenizer: Any) -> bool:
    return (
        isinstance(tokenizer, open_clip.SimpleTokenizer)
        and tokenizer.reduction_fn is None
        and tokenizer.clean_fn("A  b") == "a b"
        and tokenizer.clean_fn("A, b") == "a, b"
    )


def _export_towers(model: Any, description: dict[str, Any], folder: Path) -> None:
    size, length = description["image"]["size"], description["text"]["context_length"]
    # Two examples: a dimension of 1 would be taken for a constant.
    _export(
        _ImageTower(model), torch.zeros(2, size, size, 3, dtype=torch.uint8), "pixels", folder / "image.onnx"
    )
    _export(_TextTower(model), torch.zeros(2, length, dtype=torch.int64), "tokens", folder / "text.onnx")


def _export(tower: Any, example: Any, name: str, path: Path) -> None:
    weights = sum(parameter.numel() * parameter.element_size() for parameter in tower.parameters())
    torch.onnx.export(
        tower.eval(),
        (example,),
        str(path),
        input_names=[name],
        output_names=[_OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        external_data=weights > _LARGEST_PROTOBUF,
        verbose=False,
    )
    _forget_origin(path)


def _forget_origin(path: Path) -> None:
    """Remove what the exporter records about source files and folders: equal models give equal files."""
    model = onnx.load(str(path), load_external_data=False)
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.functions,
    ):
        del part.metadata_props[:]
        if hasattr(part, "doc_string"):
            part.doc_string = ""
    for initializer in model.graph.initializer:
        del initializer.metadata_props[:]
    onnx.save(model, str(path))


def _random_texts(tokenizer: Any, seed: int) -> list[str]:
    """Texts of words from all over the vocabulary."""
    draw = random.Random(seed)
    suffix = "</w>"
    words = sorted(
        token.removesuffix(suffix)
        for token in tokenizer.encoder
        if token.endswith(suffix) and token.isascii()
    )
    return [" ".join(draw.sample(words, length)) for length in (1, 3, 8, 20, 70)]


def _compare(tower: str, exported_ND: Any, original_ND: Any) -> None:
    difference = float(np.abs(exported_ND - original_ND).max())
    if not difference <= TOLERANCE:
        raise IntegrityError(f"the exported {tower} tower is off by {difference}, more than {TOLERANCE}")
