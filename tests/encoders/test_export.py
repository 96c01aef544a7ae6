"""The export of a small open_clip model with random weights; needs the extra `export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocu.encoders import Bundle, open_encoder
from cocu.errors import ConflictError, IntegrityError, InvalidInputError

torch = pytest.importorskip("torch", reason="torch is not installed (make test-export installs it)")
open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
export = pytest.importorskip("cocu.encoders.export", reason="onnx is not installed")

# The exporter's own deprecations are not ours to fix.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
CAPTIONS = (
    "A man rides a wave on top of a surfboard.",
    "two zebras' heads,   close-up; they're EATING grass!!",
    "a 3-year-old's birthday cake (with 7 candles) & balloons",
    "the sign says “STOP” … it isn’t lit",
    "ﬁsh and ﬂowers, ５ ｏｆ ｔｈｅｍ",
    "naïve café, Zürich – 東京 – Москва 🚲🏽",
    "tab\there, newline\nthere,\r\n no-break\u00a0space, zero\u200bwidth",
    "control \x07 and \x1b characters, \ufeff a mark",
    "a_b_c http://example.org/?q=1 #tag @someone 100% $5.99 1/2",
    "",
    "long " * 200,
)


@pytest.fixture(scope="module")
def tiny_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny-clip.json"
    path.write_text(json.dumps(TINY))
    open_clip.add_model_config(path)
    return "tiny-clip"


@pytest.fixture(scope="module")
def bundle(tiny_name: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    return export.export_open_clip(
        tiny_name, None, tmp_path_factory.mktemp("bundles") / "tiny", licence="Apache-2.0"
    )


def test_export__describes_the_model(bundle: Bundle) -> None:
    assert (bundle.dim, bundle.image.size, bundle.text.context_length) == (32, 32, 77)
    assert bundle.license == "Apache-2.0"


def test_export__agrees_with_the_original_in_batches_of_any_size(
    bundle: Bundle, tiny_name: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    model = open_clip.create_model(tiny_name)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    encoder = open_encoder(
        export.export_open_clip(tiny_name, str(tmp_path / "weights.pt"), tmp_path / "out").folder
    )
    pixels_NHWC = np.random.default_rng(1).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    mean, deviation = (torch.tensor(model.visual.preprocess_cfg[name]) for name in ("mean", "std"))
    with torch.inference_mode():
        normalised = (torch.from_numpy(pixels_NHWC) / 255 - mean) / deviation
        images_ND = model.eval().encode_image(normalised.permute(0, 3, 1, 2), normalize=True).numpy()
        texts_ND = model.encode_text(
            open_clip.get_tokenizer(tiny_name)(list(CAPTIONS)), normalize=True
        ).numpy()
    for count in (1, 2, 7):
        np.testing.assert_allclose(encoder.embed_images(pixels_NHWC[:count]), images_ND[:count], atol=1e-4)
    np.testing.assert_allclose(encoder.embed_texts(CAPTIONS), texts_ND, atol=1e-4)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_export__gives_the_same_tokens(bundle: Bundle, caption: str) -> None:
    original_T = open_clip.get_tokenizer("ViT-B-16")([caption])[0].numpy()
    np.testing.assert_array_equal(open_encoder(bundle.folder).tokenize([caption])[0], original_T)


@pytest.mark.parametrize("shape", [(40, 60), (61, 33), (200, 30), (32, 32)])
def test_export__prepares_images_as_the_original_does(
    bundle: Bundle, tiny_name: str, shape: tuple[int, int]
) -> None:
    model, _, transform = open_clip.create_model_and_transforms(tiny_name)
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8))
    mean, deviation = (torch.tensor(model.visual.preprocess_cfg[name]) for name in ("mean", "std"))
    original_HWC = ((transform(image).permute(1, 2, 0) * deviation + mean) * 255).round().numpy()
    assert np.abs(open_encoder(bundle.folder).preprocess(image) - original_HWC).max() <= 1


def test_export__leaves_no_trace_of_where_it_was_made(bundle: Bundle) -> None:
    for path in bundle.folder.iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert b".py" not in content or path.name == "tokenizer.json"
        assert str(bundle.folder.parent).encode() not in content


def test_export__does_not_overwrite(bundle: Bundle, tiny_name: str) -> None:
    with pytest.raises(ConflictError, match="exists already"):
        export.export_open_clip(tiny_name, None, bundle.folder)


def test_export__refuses_a_model_that_a_bundle_cannot_describe(tmp_path: Path) -> None:
    path = tmp_path / "longest-clip.json"
    path.write_text(json.dumps({**TINY, "vision_cfg": {**TINY["vision_cfg"], "image_size": [32, 64]}}))
    open_clip.add_model_config(path)
    with pytest.raises(InvalidInputError, match="square"):
        export.export_open_clip("longest-clip", None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify__notices_other_weights(bundle: Bundle, tiny_name: str) -> None:
    torch.manual_seed(2)
    other = open_clip.create_model(tiny_name).eval()
    with pytest.raises(IntegrityError, match="off by"):
        export.verify(open_encoder(bundle.folder), other, open_clip.get_tokenizer(tiny_name))


@pytest.mark.parametrize(
    ("model_name", "pretrained", "words"),
    [
        ("ViT-B-33", None, "no model 'ViT-B-33'; near it are ViT-B-32"),
        ("ViT-B-32", "openia", "no weights 'openia' for ViT-B-32.*near it are openai"),
    ],
)
def test_export__of_an_unknown_name_is_one_line_with_those_near_it(
    tmp_path: Path, model_name: str, pretrained: str | None, words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words) as refused:
        export.require_known(model_name, pretrained)
    assert len(str(refused.value)) < 400
