"""The model: sizes, axes, and the same numbers as Hugging Face's."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from cocu_training.model import GroupViT, GroupViTConfiguration, ImageStage
from cocu_training.model.grouping import assign, gather_members
from cocu_training.model.hugging_face import hugging_face_names, load_hugging_face


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    model = GroupViT(GroupViTConfiguration.small())
    stages = model.image_encoder.stages
    assert parameters(model) == 55_726_610
    assert parameters(model.image_encoder) == 28_837_136
    assert parameters(model.text_encoder) == 22_145_792
    assert parameters(model.image_projector) == 2_633_984
    assert parameters(model.text_projector) == 2_109_696
    assert [parameters(stage.blocks) for stage in stages] == [10_646_784, 5_323_392, 5_323_392]
    assert [parameters(stage.grouping) for stage in stages[:2]] == [3_575_296, 3_553_736]
    assert parameters(stages[1].projection) == 14_792


def theirs(configuration: GroupViTConfiguration) -> transformers.GroupViTModel:
    """Hugging Face's model of the same sizes, with weights drawn at random."""
    groups = [stage.groups for stage in configuration.stages]
    sizes = transformers.GroupViTConfig(
        projection_dim=configuration.dim,
        projection_intermediate_dim=configuration.projector_width,
        vision_config={
            "hidden_size": configuration.image_width,
            "intermediate_size": 4 * configuration.image_width,
            "depths": [stage.blocks for stage in configuration.stages],
            "num_hidden_layers": sum(stage.blocks for stage in configuration.stages),
            "num_group_tokens": groups,
            "num_output_groups": groups,
            "num_attention_heads": configuration.image_heads,
            "image_size": configuration.image_size,
            "patch_size": configuration.patch_size,
        },
        text_config={
            "vocab_size": configuration.text_tokens,
            "hidden_size": configuration.text_width,
            "intermediate_size": 4 * configuration.text_width,
            "num_hidden_layers": configuration.text_blocks,
            "num_attention_heads": configuration.text_heads,
            "max_position_embeddings": configuration.context_length,
            "eos_token_id": configuration.text_tokens - 1,
        },
    )
    model = transformers.GroupViTModel(sizes).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Larger than at the start of training, so that nothing is near zero and a wrong axis would show.
            scale = (
                0.3 if "norm" in name else 2.0 * parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.15
            )
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + scale * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
        model.logit_scale.fill_(2.0)
    return model


@pytest.mark.parametrize(
    "configuration",
    [
        GroupViTConfiguration.tiny(),
        pytest.param(GroupViTConfiguration.small(), marks=pytest.mark.slow),
    ],
    ids=["tiny", "published"],
)
def test_equal_weights_give_what_hugging_face_gives(configuration: GroupViTConfiguration) -> None:
    torch.manual_seed(0)
    reference = theirs(configuration)
    model = GroupViT(configuration).eval()
    load_hugging_face(model, reference.state_dict())
    size, end = configuration.image_size, configuration.text_tokens - 1
    pixels_B3HW = torch.randn(2, 3, size, size)
    tokens_MT = torch.randint(1, end, (3, configuration.context_length))
    tokens_MT[:, -1] = tokens_MT[1, 3] = end
    with torch.no_grad():
        expected = reference(
            input_ids=tokens_MT,
            pixel_values=pixels_B3HW,
            output_segmentation=True,
            output_attentions=True,
        )
        images_BE, texts_ME = model(pixels_B3HW, tokens_MT)
        groups = model.groups(pixels_B3HW)
        maps_BGHW = torch.nn.functional.interpolate(
            groups.assignment_BPG.transpose(1, 2).unflatten(2, groups.grid), (size, size), mode="bilinear"
        )
        cosines_BGM = groups.segments_BGE @ texts_ME.T
        # Theirs multiplies by the scale twice.
        logits_BMHW = torch.einsum("bgm,bghw->bmhw", cosines_BGM, maps_BGHW) * model.caption_scale**2
    torch.testing.assert_close(images_BE, expected.image_embeds, atol=1e-4, rtol=0)
    torch.testing.assert_close(groups.pooled_BE, expected.image_embeds, atol=1e-4, rtol=0)
    torch.testing.assert_close(texts_ME, expected.text_embeds, atol=1e-4, rtol=0)
    for ours_BGN, theirs_BGN in zip(groups.assignments, expected.vision_model_output.attentions, strict=True):
        torch.testing.assert_close(ours_BGN, theirs_BGN, atol=1e-4, rtol=0)
        assert (ours_BGN.std(dim=1) > 1e-3).any(), "maps that are uniform would compare nothing"
    scale = model.caption_scale.item() ** 2
    torch.testing.assert_close(logits_BMHW / scale, expected.segmentation_logits / scale, atol=1e-4, rtol=0)


def test_every_weight_has_one_name_there() -> None:
    configuration = GroupViTConfiguration.tiny()
    names = hugging_face_names(configuration)
    counted = {name for name in GroupViT(configuration).state_dict() if not name.endswith("batches_tracked")}
    assert set(names) == counted
    known = set(theirs(configuration).state_dict())
    assert set(names.values()) <= known
    left = {name for name in known - set(names.values()) if "position_ids" not in name}
    assert all(name.endswith("num_batches_tracked") for name in left), left


def test_a_checkpoint_that_lacks_a_weight_is_refused_by_name() -> None:
    configuration = GroupViTConfiguration.tiny()
    weights = theirs(configuration).state_dict()
    del weights["vision_model.layernorm.bias"]
    with pytest.raises(KeyError, match=r"no vision_model.layernorm.bias"):
        load_hugging_face(GroupViT(configuration), weights)


def test_the_assignment_of_the_worked_example() -> None:
    logits_BGN = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]], dtype=torch.float64)
    hard_BGN, soft_BGN = assign(logits_BGN, noise=False)
    expected = torch.tensor([[[0.731059, 0.268941, 0.880797], [0.268941, 0.731059, 0.119203]]])
    torch.testing.assert_close(soft_BGN, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(hard_BGN, torch.tensor([[[1.0, 0, 1], [0, 1, 0]]]), atol=1e-6, rtol=0)
    values_BNC = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]])
    members_BGC = gather_members(hard_BGN, values_BNC)
    torch.testing.assert_close(members_BGC, torch.tensor([[[1.0, 2 / 3], [0, 0.5]]]), atol=1e-6, rtol=0)


def test_noise_chooses_groups_as_often_as_the_softmax_says() -> None:
    torch.manual_seed(0)
    logits_BGN = torch.tensor([0.0, 1.0, 2.0])[None, :, None].expand(1, 3, 20_000)
    hard_BGN, soft_BGN = assign(logits_BGN, noise=True)
    torch.testing.assert_close(hard_BGN.mean(dim=2), soft_BGN[:, :, 0], atol=0.02, rtol=0)
    torch.testing.assert_close(soft_BGN[0, :, 0], torch.tensor([0.0, 1.0, 2.0]).softmax(0))


def test_gradients_reach_the_group_that_was_not_chosen() -> None:
    logits_BGN = torch.tensor([[[2.0], [0.0]]], requires_grad=True)
    hard_BGN, _ = assign(logits_BGN, noise=False)
    (hard_BGN * torch.tensor([[[1.0], [3.0]]])).sum().backward()
    assert logits_BGN.grad is not None
    assert logits_BGN.grad[0, 1, 0] > 0


def test_another_size_of_image_resizes_the_positions() -> None:
    model = GroupViT(GroupViTConfiguration.tiny()).eval()
    groups = model.groups(torch.randn(1, 3, 50, 81))
    assert groups.grid == (6, 10)
    assert groups.assignment_BPG.shape == (1, 60, 3)
    torch.testing.assert_close(groups.assignment_BPG.sum(dim=2), torch.ones(1, 60))


def test_texts_do_not_depend_on_what_follows_their_end() -> None:
    model = GroupViT(GroupViTConfiguration.tiny()).eval()
    long_MT = torch.tensor([[1, 5, 63, 0, 0, 0, 0, 0]])
    torch.testing.assert_close(model.embed_texts(long_MT), model.embed_texts(long_MT[:, :4]))


@pytest.mark.parametrize("groups", [(8,), (8, 0, 0), (8, 4)])
def test_stages_that_do_not_fit_are_refused(groups: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="every stage but the last must group"):
        GroupViTConfiguration(stages=tuple(ImageStage(blocks=1, groups=count) for count in groups))


def test_temperatures_are_separate_and_clamped() -> None:
    model = GroupViT(GroupViTConfiguration.tiny())
    assert model.caption_scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        model.caption_temperature.fill_(20.0)
        model.concept_temperature.fill_(1.0)
    assert model.caption_scale.item() == pytest.approx(100.0)
    assert model.concept_scale.item() == pytest.approx(torch.e)
    model.concept_scale.backward()
    assert model.caption_temperature.grad is None
    assert model.concept_temperature.grad.item() == pytest.approx(torch.e)
