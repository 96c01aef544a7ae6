"""A folder that transformers saved, read as a model of ours, and what is refused instead of misread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.training.model.test_groupvit import theirs

from cocu_training.errors import CheckpointError
from cocu_training.model import GroupViTConfiguration
from cocu_training.model.hugging_face_folder import is_hugging_face, read_hugging_face

PIXELS_B3HW = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def reference() -> Any:
    torch.manual_seed(5)
    return theirs(GroupViTConfiguration.tiny())


@pytest.fixture
def folder(reference: Any, tmp_path: Path) -> Path:
    reference.save_pretrained(tmp_path)
    return tmp_path


@torch.no_grad()
def test_what_was_saved_gives_the_same_embeddings(reference: Any, folder: Path) -> None:
    assert is_hugging_face(folder)
    model = read_hugging_face(folder)
    assert not model.training
    tokens_MT = torch.tensor([[5, 9, 63, 0, 0, 0, 0, 0], [7, 63, 0, 0, 0, 0, 0, 0]])
    outputs = reference(input_ids=tokens_MT, pixel_values=PIXELS_B3HW)
    torch.testing.assert_close(model.embed_images(PIXELS_B3HW), outputs.image_embeds, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.embed_texts(tokens_MT), outputs.text_embeds, atol=1e-4, rtol=0)


@torch.no_grad()
def test_weights_are_the_same_from_either_file_and_in_half_precision(reference: Any, folder: Path) -> None:
    expected_BE = read_hugging_face(folder).embed_images(PIXELS_B3HW)
    (folder / "model.safetensors").unlink()
    torch.save(reference.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(read_hugging_face(folder).embed_images(PIXELS_B3HW), expected_BE)
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in reference.state_dict().items()
    }
    torch.save(halved, folder / "pytorch_model.bin")
    rounded = read_hugging_face(folder)
    assert {parameter.dtype for parameter in rounded.parameters()} == {torch.float32}
    assert (rounded.embed_images(PIXELS_B3HW) * expected_BE).sum(dim=1).min() > 0.99


def test_sizes_that_are_left_out_are_the_published_ones(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "groupvit"}))
    with pytest.raises(CheckpointError, match=r"not those of config\.json"):
        read_hugging_face(folder)


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        (None, {"model_type": "clip"}, "not of a GroupViT"),
        (None, {"projection_dim": "12"}, "projection_dim is not a whole number"),
        (None, {"vision_config": []}, None),
        (None, {"vision_config": 7}, "vision_config is no object"),
        ("vision_config", {"num_output_groups": [5, 3, 0]}, "num_output_groups are not"),
        ("vision_config", {"num_group_tokens": [6, 3, 2]}, "must group"),
        ("vision_config", {"depths": "many"}, "depths is not a list"),
        ("vision_config", {"image_size": [32, 32]}, "image_size is not a whole number"),
        ("vision_config", {"patch_size": 7}, "do not tile"),
        ("vision_config", {"intermediate_size": 100}, "not four times"),
        ("vision_config", {"hidden_act": "relu"}, "hidden_act is not gelu"),
        ("text_config", {"hidden_act": "gelu"}, "hidden_act is not quick_gelu"),
        ("text_config", {"vocab_size": 65}, "not those of"),
        ("text_config", {"num_hidden_layers": 2}, "has no text_model"),
    ],
)
def test_what_is_no_model_of_ours_is_refused(
    folder: Path, part: str | None, change: dict[str, Any], words: str | None
) -> None:
    document = json.loads((folder / "config.json").read_text())
    (document if part is None else document[part]).update(change)
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=words):
        read_hugging_face(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:4],
        lambda content: content[:200],
        lambda content: content[:-1],
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content[:8] + b"[" + content[9:],
        lambda content: content.replace(b'"F32"', b'"F99"', 1),
    ],
)
def test_damaged_weights_are_said_to_be(folder: Path, damage: Any) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match="or damaged"):
        read_hugging_face(folder)


def test_absent_and_foreign_files_are_said_to_be(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="has neither"):
        read_hugging_face(folder)
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 not weights")
    with pytest.raises(CheckpointError, match="or damaged"):
        read_hugging_face(folder)
    torch.save([1, 2], folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="no file of weights"):
        read_hugging_face(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_hugging_face(folder)
    assert not is_hugging_face(tmp_path / "absent")
